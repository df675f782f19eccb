"""git's objects and branches through the git program, for repositories that libgit2 cannot open
and for commits that are signed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from avm.vault import git
from avm.vault.location import Vault
from avm.vault.objects import Blob, Locked, Moved, Signature

#: Beyond this many paths on a command line the whole tree is listed instead.
MOST_PATHS = 64


class GitObjects:
    """The contract of avm.vault.objects.Objects."""

    def __init__(self, vault: Vault, *, sign: bool = False) -> None:
        self._vault = vault
        self._sign = sign

    def entries(self, commit: str | None, names: Collection[str]) -> dict[str, Blob]:
        """Those of `names` that are files or links in the commit's tree."""
        if commit is None or not names:
            return {}
        few = names if len(names) <= MOST_PATHS else ()
        # ls-tree takes no pathspec but prefixes, so that no name means anything else.
        args = ("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, "--", *few)
        listed = self._run(*args)
        wanted, found = set(names), {}
        for line in listed.split(b"\0"):
            facts, _, raw = line.partition(b"\t")
            name = os.fsdecode(raw)
            if name in wanted:
                mode, kind, blob = facts.decode().split(" ")
                if kind == "blob":
                    found[name] = (blob, int(mode, 8))
        return found

    def ignored(self, names: Collection[str]) -> set[str]:
        """Those of `names` that git's rules ignore."""
        if not names:
            return set()
        feed = b"".join(os.fsencode(name) + b"\0" for name in names)
        args = ("check-ignore", "-z", "--stdin", "--no-index")
        done = git.run(self._vault.root, args, stdin=feed, check=False)
        if done.returncode <= 1:
            return {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
        if len(names) == 1:
            return set()
        # git stops at a name behind a link or in a submodule: it must not hide the others.
        half, ordered = len(names) // 2, sorted(names)
        return self.ignored(ordered[:half]) | self.ignored(ordered[half:])

    def is_verbatim(self, name: str) -> bool:
        """Never sure: what git stores is looked up after it was stored."""
        return False

    def read_blob(self, blob: str) -> bytes:
        """A blob's bytes."""
        return self._run("cat-file", "blob", blob)

    def size(self, blob: str) -> int:
        """How many bytes a blob has."""
        return int(self._run("cat-file", "-s", blob))

    def lost(self, blobs: Collection[str]) -> set[str]:
        """Those of `blobs` that are not there."""
        feed = "".join(f"{blob}\n" for blob in blobs).encode()
        told = self._run("cat-file", "--batch-check", stdin=feed).decode() if blobs else ""
        return {line.split(" ")[0] for line in told.splitlines() if line.endswith(" missing")}

    def write_blob(self, raw: bytes) -> str:
        """Store bytes as they are."""
        return self._run("hash-object", "-w", "--stdin", stdin=raw).decode().strip()

    def write_commit(
        self,
        parent: str | None,
        put: Mapping[str, Blob | None],
        message: str,
        author: Signature,
        committer: Signature,
        merged: Sequence[str] = (),
    ) -> str | None:
        """A commit on `parent` with `put` in its tree; None if the tree would stay the same."""
        before = self._run("rev-parse", f"{parent}^{{tree}}").decode().strip() if parent else None
        tree = self._tree(before, put)
        if tree == before and not merged:
            return None
        args = ["-c", "i18n.commitEncoding=UTF-8", "commit-tree", tree]
        args += ["-S"] if self._sign else []
        args += [word for one in (parent, *merged) if one for word in ("-p", one)]
        who = _variables("AUTHOR", author) | _variables("COMMITTER", committer)
        return self._run(*args, stdin=message.encode(), env=who).decode().strip()

    def move_branch(self, ref: str, old: str | None, new: str) -> None:
        """Set `ref` to `new` if it is at `old`. Raises Moved or Locked."""
        args = ("update-ref", "-m", "commit (avm)", ref, new, old or "0" * len(new))
        done = git.run(self._vault.root, args, check=False)
        if done.returncode != 0:
            if b".lock" in done.stderr:
                raise Locked(f"the lock of {ref}")
            raise Moved

    def _tree(self, base: str | None, put: Mapping[str, Blob | None]) -> str:
        """The id of tree `base` with `put` in it, by way of an index of its own."""
        state = self._vault.git_state
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tree.", dir=state) as folder:
            env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._run("read-tree", base or "--empty", env=env)
            none = "0" * len(base or "0" * 40)
            gone = [(name, (none, 0)) for name, blob in put.items() if blob is None]
            kept = [(name, blob) for name, blob in put.items() if blob is not None]
            # First what goes: a folder may take the place of a file.
            feed = b"".join(
                f"{mode:06o} {blob}\t".encode() + os.fsencode(name) + b"\0"
                for name, (blob, mode) in (*gone, *kept)
            )
            self._run("update-index", "--replace", "-z", "--index-info", stdin=feed, env=env)
            return self._run("write-tree", env=env).decode().strip()

    def _run(
        self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> bytes:
        return git.run(self._vault.root, args, stdin=stdin, env=env).stdout


def _variables(role: str, signature: Signature) -> dict[str, str]:
    sign = "-" if signature.offset < 0 else "+"
    hours, minutes = divmod(abs(signature.offset), 60)
    return {
        f"GIT_{role}_NAME": signature.who.name,
        f"GIT_{role}_EMAIL": signature.who.email,
        # Without the @ git takes few digits for a date, and a time far ahead for none.
        f"GIT_{role}_DATE": f"@{signature.seconds} {sign}{hours:02}{minutes:02}",
    }
