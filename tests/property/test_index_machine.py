"""Whatever happens to files, rules, git and the index: the index is what the files say.

A random sequence of what people, agents, git and accidents do, after each step the oracle: the
index holds what the files hold (`Index.check`), and a search finds what a reader of them would.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest
from conftest import git
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from avm import AVM
from avm.base import memory_file
from avm.vault.git import blob_id
from avm.vault.survey import Survey

_NAMES = ("a", "b", "c")
_FOLDERS = ("", "deep/", "deep/er/", "built/")
_WORDS = ("alpha", "omega", "sigma")
_SHARED = "memory/shared"
_RULES = ("", "built/", "*.md\n!a.md", "c.md", "er", "/deep/*", "!b.md")
#: Brings the index up to date and dies in its first write, before or after it is committed.
_KILLED = """
import os, signal, sys
from pathlib import Path
from avm.index import apply
from avm.index.index import Index
from avm.vault.location import open_vault
write = apply._write
def killed(connection, readings, gone):
    write(connection, readings, gone)
    if sys.argv[2] == "after": connection.execute("COMMIT")
    os.kill(os.getpid(), signal.SIGKILL)
apply._write = killed
Index(open_vault(Path(sys.argv[1]))).refresh()
"""

files = st.builds("{}{}.md".format, st.sampled_from(_FOLDERS), st.sampled_from(_NAMES))
folders = st.sampled_from([folder for folder in _FOLDERS if folder])
words = st.sampled_from(_WORDS)


class IndexMachine(RuleBasedStateMachine):
    """One vault, and what may befall it."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="avm-machine-"))
        self.root = self.top / "vault"
        self.shared = self.root / _SHARED
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("AVM_COMMIT_WHO", "off")  # git is the machine's
        self.year = 2026
        self.patch.setenv("AVM_CLOCK", f"{self.year}-06-01")
        self.avm = AVM(self.root, semantic="off")
        #: Paths that changed since a look at them, as a watcher would have them.
        self.changed: set[str] = set()

    def teardown(self) -> None:
        self.avm.close()
        self.patch.undo()
        shutil.rmtree(self.top)

    @initialize()
    def begin(self) -> None:
        for name in _NAMES:
            self.put(f"deep/{name}.md", f"{name} alpha common\n")
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "-m", "First")

    def put(self, rel: str, text: str) -> None:
        place = self.shared / rel
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        self.touched(rel)

    def touched(self, *rels: str) -> None:
        self.changed.update(f"{_SHARED}/{rel}".rstrip("/") for rel in rels)

    # People, agents and editors

    @rule(title=st.sampled_from(_NAMES), word=words, days=st.sampled_from([None, 30]))
    def remember(self, title: str, word: str, days: int | None) -> None:
        made = self.avm.remember(f"{word} common", title=title, ttl=f"{days}d" if days else None)
        self.changed.add(made.path.lstrip("/"))

    @rule(rel=files, word=words)
    def edit(self, rel: str, word: str) -> None:
        self.put(rel, f"{word} common\n")

    @rule(rel=files, word=words)
    def edit_in_place(self, rel: str, word: str) -> None:
        """The same size, inode and mtime."""
        place = self.shared / rel
        if place.is_file():
            before = place.stat()
            with place.open("r+b") as file:
                file.write(word.encode())
            os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
            self.touched(rel)

    @rule(rel=files, other=files)
    def replace_keeping_the_stamp(self, rel: str, other: str) -> None:
        """Another file in its place, with the mtime of a third: `touch -r`, `mv`."""
        place, model = self.shared / rel, self.shared / other
        if place.is_file() and model.is_file():
            new = place.with_name("new")
            new.write_text(place.read_text().replace("alpha", "omega"))
            shutil.copystat(model, new)
            new.rename(place)
            self.touched(rel)

    @rule(rel=files, other=files)
    def rename(self, rel: str, other: str) -> None:
        if (self.shared / rel).is_file():
            (self.shared / other).parent.mkdir(parents=True, exist_ok=True)
            (self.shared / rel).rename(self.shared / other)
            self.touched(rel, other)

    @rule(folder=folders, name=st.sampled_from(["moved", "deep", "built"]))
    def rename_folder(self, folder: str, name: str) -> None:
        source, target = self.shared / folder, self.shared / name
        if source.is_dir() and not target.exists():
            source.rename(target)
            self.touched(folder, name)

    @rule(rel=st.one_of(files, folders, st.just("moved")))
    def delete(self, rel: str) -> None:
        place = self.shared / rel
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        self.touched(rel)

    @rule(rel=files, word=words)
    def write_an_expiry(self, rel: str, word: str) -> None:
        self.put(rel, f"---\nexpires: {self.year}-09-01\n---\n{word} common\n")

    @rule()
    def a_year_passes(self) -> None:
        self.year += 1
        self.patch.setenv("AVM_CLOCK", f"{self.year}-06-01")
        self.reopen()

    @rule(
        folder=st.sampled_from(["", "deep/"]),
        name=st.sampled_from([".gitignore", ".avmignore"]),
        text=st.sampled_from(_RULES),
    )
    def change_rules(self, folder: str, name: str, text: str) -> None:
        self.put(folder + name, text + "\n")

    # git

    @rule()
    def commit(self) -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "-m", "More")

    @rule(rel=files)
    def force_add(self, rel: str) -> None:
        if (self.shared / rel).is_file():
            git(self.root, "add", "--force", f"{_SHARED}/{rel}")

    @rule()
    def reset(self) -> None:
        git(self.root, "reset", "--quiet", "--hard", "HEAD")
        self.changed.add("")

    @rule()
    def pull_and_go_back(self) -> None:
        """Another clone changes things, its commit is pulled; then HEAD goes back and forth."""
        self.commit()
        other = self.top / "other"
        git(self.top, "clone", "--quiet", str(self.root), str(other))
        place = other / _SHARED / "deep/pulled.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"sigma common {place.exists()}\n")
        (other / _SHARED / "deep/a.md").unlink(missing_ok=True)
        git(other, "add", "--all", "--force")
        git(other, "commit", "--quiet", "--allow-empty", "-m", "Theirs")
        git(self.root, "pull", "--quiet", str(other), "HEAD")
        shutil.rmtree(other)
        git(self.root, "checkout", "--quiet", "--detach", "HEAD~1")
        assert self.found("common") == self.expected("common")
        git(self.root, "checkout", "--quiet", "main")
        self.changed.add("")

    # Accidents

    @rule(when=st.sampled_from(["before", "after"]))
    def killed(self, when: str) -> None:
        command = [sys.executable, "-c", _KILLED, str(self.root), when]
        subprocess.run(command, check=False, capture_output=True)

    @rule()
    def rebuild(self) -> None:
        self.avm.store.index.rebuild()

    @rule(what=st.sampled_from(["folder", "file", "damage"]))
    def lose_the_index(self, what: str) -> None:
        folder = self.avm.store.vault.index_dir
        for place in list(folder.glob("index-*-*.sqlite")):
            if what == "file":
                place.unlink()
            elif what == "damage":
                place.write_bytes(b"damaged " * 1_000)
        if what == "folder":
            shutil.rmtree(folder, ignore_errors=True)

    @rule()
    def reopen(self) -> None:
        self.avm.close()
        self.avm = AVM(self.root, semantic="off")

    # The oracle

    @rule()
    def look_at_what_changed(self) -> None:
        """As the keeper does: at the paths that changed, at everything only if asked to."""
        index = self.avm.store.index
        if index.refresh_paths(self.changed) is None:
            index.refresh()
        self.changed.clear()
        held = {tuple(row) for row in index._rows("SELECT path, hash FROM memory")}
        walk = Survey(self.avm.store.vault).walk()
        assert held == {(rel, blob_id((self.root / rel).read_bytes())) for rel in walk.memories}

    @invariant()
    def the_index_is_what_the_files_say(self) -> None:
        if len(self.changed) % 2:
            return  # changes pile up, for the look at them
        assert self.avm.store.index.check() == []
        for word in (*_WORDS, "common"):
            assert self.found(word) == self.expected(word), word

    def found(self, word: str) -> set[str]:
        return {hit.path.lstrip("/") for hit in self.avm.search(word, 100)}

    def expected(self, word: str) -> set[str]:
        """What a reader of the files finds; what ends when was written by this machine."""
        now, matching = self.avm.store.now(), set()
        for rel in Survey(self.avm.store.vault).walk().memories:
            parsed = memory_file.parse((self.root / rel).read_bytes())
            expires = parsed.front.expires
            words_of = re.findall(r"\w+", parsed.body)
            if word in words_of and (expires is None or expires.timestamp() > now):
                matching.add(rel)
        return matching


TestIndexMachine = IndexMachine.TestCase
_DEEP = hypothesis.settings().max_examples > 1_000
TestIndexMachine.settings = hypothesis.settings(
    max_examples=300 if _DEEP else 8,
    stateful_step_count=60 if _DEEP else 25,
    deadline=None,
    derandomize=not _DEEP,
    suppress_health_check=list(hypothesis.HealthCheck),
)
