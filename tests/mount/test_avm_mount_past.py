"""The past through a real mount: every program reads it, nothing can change it, agents see their
part of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git, needs_fuse

from mount.conftest import Mount, Mounting, failing

pytestmark = needs_fuse


@pytest.fixture
def past(mounting: Mounting, home: Path) -> Mount:
    """The owner's mount of a vault with three commits after its first."""
    return mounting(vault=_vault(home))


def _vault(home: Path) -> Path:
    from avm.vault.init import make

    root = home / "avm"
    make(root)
    shared = root / "memory" / "shared"
    (shared / "deep").mkdir()
    (shared / "x.md").write_text("one → 1\n")
    (shared / "deep" / "y.md").write_text("y\n" * 5000)
    (shared / "run.sh").write_text("true\n")
    (shared / "run.sh").chmod(0o755)
    (shared / "link.md").symlink_to("x.md")
    (shared / ":stats").write_text("poses as an answer")
    (root / "memory/private/hermes").mkdir()
    (root / "memory/private/hermes/h.md").write_text("hermes's secret\n")
    (root / ":at:HEAD").mkdir()
    (root / ":at:HEAD" / "posing.md").write_text("poses as the past")
    _commit(root, "One", "2026-11-01T12:00:00Z")
    (shared / "x.md").rename(shared / "z.md")
    (shared / "deep" / "y.md").unlink()
    _commit(root, "Two", "2026-11-03T12:00:00Z")
    (shared / "z.md").write_text("three\n")
    _commit(root, "Three", "2026-11-05T12:00:00Z")
    return root


def _commit(root: Path, subject: str, moment: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", moment)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", subject)


def test_a_folder_of_the_past_is_a_folder(past: Mount) -> None:
    then = "M/:at:2026-11-01"
    assert past.bash(f"cd {then}; find memory/shared | sort").split() == [
        "memory/shared", "memory/shared/.gitkeep", "memory/shared/deep",
        "memory/shared/deep/y.md", "memory/shared/link.md", "memory/shared/run.sh",
        "memory/shared/x.md",
    ]  # fmt: skip
    assert (
        past.bash(f"cat {then}/memory/shared/x.md {then}/memory/shared/link.md") == "one → 1\n" * 2
    )
    assert past.bash(f"grep -rl one {then} | sort").split() == [f"{then}/memory/shared/x.md"]
    assert past.bash(f"wc -c < {then}/memory/shared/deep/y.md") == "10000\n"
    assert past.bash(f"stat -c '%s %a' {then}/memory/shared/deep/y.md") == "10000 644\n"
    assert past.bash(f"stat -c '%F %s' {then}/memory/shared/link.md") == "symbolic link 4\n"
    assert past.bash(f"TZ=UTC date -r {then}/memory +%F") == "2026-11-01\n"
    past.bash(f"cp -a {then} copied && cp -r {then}/. again && diff -r copied again")
    copied = past.home / "copied" / "memory" / "shared"
    assert copied.joinpath("x.md").read_text() == "one → 1\n"
    assert os.access(copied / "run.sh", os.X_OK) and copied.joinpath("link.md").is_symlink()
    (copied / "x.md").write_text("a copy can be changed")
    assert past.bash(f"ls -R {then} | md5sum") == past.bash(
        f"ls -R {then}/ | sed 's|/:$|:|' | md5sum"
    )
    first, second = (os.stat(past / ":at:2026-11-01/memory").st_ino for _ in range(2))
    assert first == second


def test_it_is_in_no_listing_and_nothing_poses_as_it(past: Mount) -> None:
    assert past.bash("ls -a M").split() == [".", "..", ".avm", ".gitattributes", "memory"]
    assert not (past / ":at:HEAD/posing.md").exists()
    assert (past / ":at:HEAD/memory/shared/z.md").read_text() == "three\n"
    assert failing(lambda: os.stat(past / ":at:HEAD/memory/shared/:stats")) == "ENOENT"
    assert failing(lambda: os.stat(past / ":at:HEAD/:at:HEAD")) == "ENOENT"
    assert failing(lambda: os.stat(past / ":at:HEAD/.git")) == "ENOENT"
    assert failing(lambda: os.stat(past / ":at:nope")) == "ENOENT"
    assert failing(lambda: os.stat(past / ":at:2020-01-01")) == "ENOENT"
    assert failing(lambda: os.stat(past / "memory/:at:HEAD")) == "ENOENT"
    assert failing(lambda: os.listdir(past / ":at:HEAD/memory/shared/z.md")) == "ENOTDIR"


def test_nothing_in_it_can_be_changed(past: Mount) -> None:
    then = past / ":at:~1"
    file, link, now = then / "memory/shared/z.md", then / "memory/shared/link.md", past.shared
    acts: list[Callable[[], object]] = [
        lambda: file.write_text("x"),
        lambda: file.open("a"),
        lambda: file.open("r+"),
        lambda: os.truncate(file, 0),
        lambda: (then / "memory/shared/new.md").write_text("x"),
        (then / "memory/new").mkdir,
        (past / ":at:~1" / ":stats").mkdir,
        file.unlink,
        (then / "memory/shared").rmdir,
        lambda: file.chmod(0o600),
        lambda: os.chown(file, os.getuid(), -1),
        lambda: os.utime(file),
        lambda: os.symlink("x", then / "memory/l"),
        lambda: os.link(now / "z.md", then / "memory/l"),
        lambda: os.link(file, now / "l.md"),
        lambda: os.rename(file, now / "moved.md"),
        lambda: os.rename(now / "z.md", then / "memory/moved.md"),
        lambda: os.rename(then, past / "moved"),
        lambda: os.rename(file, file.with_name(".fuse_hidden0000000100000001")),
        lambda: os.mkfifo(then / "memory/p"),
        link.unlink,
    ]
    assert [failing(act) for act in acts] == ["EROFS"] * len(acts)
    assert failing((past / ":at:new").mkdir) in ("EROFS", "EEXIST")
    assert past.bash("cat M/memory/shared/z.md") == "three\n"
    assert git(past.vault, "status", "--porcelain") == ""


def test_what_is_named_from_head_or_a_date_follows_it(past: Mount) -> None:
    fixed = git(past.vault, "rev-parse", "HEAD")[:8]
    assert not (past / ":at:~1/memory/shared/link.md").is_dir()
    assert (past / ":at:~1/memory/shared/z.md").read_text() == "one → 1\n"
    (past.behind / "shared" / "z.md").write_text("four\n")
    _commit(past.vault, "Four", "2026-11-05T13:00:00Z")
    assert (past / ":at:~1/memory/shared/z.md").read_text() == "three\n"
    assert (past / ":at:2026-11-05/memory/shared/z.md").read_text() == "four\n"
    assert (past / f":at:{fixed}/memory/shared/z.md").read_text() == "three\n"


def test_the_past_of_one_memory(past: Mount) -> None:
    """Also of one that is gone, and right after a commit."""
    lines = past.ask("z.md:history", "memory/shared").splitlines()
    assert [line.split("  ")[3] for line in lines] == ["Three", "Two", "One"]
    assert lines[2].endswith("  (/memory/shared/x.md)")
    assert past.ask("z.md:at:2026-11-02", "memory/shared") == "one → 1\n"
    assert past.ask("z.md:at:~1", "memory/shared") == "one → 1\n"
    assert past.ask("deep/y.md:at:2026-11-01", "memory/shared") == "y\n" * 5000
    assert "+three\n" in past.ask("z.md:diff", "memory/shared")
    (past.shared / "z.md").write_text("five\n")
    assert "-three\n+five\n" in past.ask("z.md:diff", "memory/shared")
    past.wait_committed("shared/z.md", "Pat Person")
    assert len(past.ask("z.md:history", "memory/shared").splitlines()) == 4
    for node in ("never.md:history", "never.md:diff", "never.md:at:HEAD", "z.md:at:nope"):
        assert failing(lambda node=node: (past.shared / node).read_bytes()) == "ENOENT"
    assert failing(lambda: (past.shared / "z.md:at:~1").write_text("x")) == "EACCES"
    mode = (past.shared / "z.md:at:~1").stat().st_mode
    assert stat.S_IMODE(mode) == 0o444


def test_an_agent_sees_its_part_of_the_past(mounting: Mounting, home: Path) -> None:
    akashi = mounting(vault=_vault(home), agent="akashi")
    then = "M/:at:2026-11-01"
    assert akashi.bash(f"ls -a {then}").split() == [".", "..", "memory"]
    assert akashi.bash(f"grep -rl secret {then}", ok=False) == ""
    assert akashi.bash(f"cat {then}/memory/shared/x.md") == "one → 1\n"
    for name in ("memory/private/hermes", "memory/private/hermes/h.md", ".avm", ".gitattributes"):
        assert failing(lambda name=name: os.stat(akashi / f":at:HEAD/{name}")) == "ENOENT", name
    git(akashi.vault, "branch", "side", "HEAD~1")
    assert failing(lambda: os.stat(akashi / ":at:side")) == "ENOENT"
    assert failing(lambda: (akashi / ":at:HEAD/memory/new.md").write_text("x")) == "EROFS"
