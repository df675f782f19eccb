"""Two agents at one vault, each at a mount of its own: whose commits, and what neither sees."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from conftest import git, needs_fuse, run_avm

from mount.conftest import Mount, Mounting, failing

pytestmark = needs_fuse


@pytest.fixture
def two(mounting: Mounting) -> tuple[Mount, Mount]:
    """Mounts of akashi and of hermes, each with one private memory and one that it shared."""
    mounts = mounting("one", agent="akashi"), mounting("two", agent="hermes")
    for mount in mounts:
        (mount.private / f"of_{mount.agent}.md").write_text(f"word private #only{mount.agent}\n")
        (mount.shared / f"from_{mount.agent}.md").write_text(f"word shared by {mount.agent}\n")
    return mounts


def test_each_agents_writes_are_committed_as_its_own(two: tuple[Mount, Mount]) -> None:
    for mount in two:
        name = str(mount.agent)
        mount.wait_committed(f"private/{name}/of_{name}.md", name)
        mount.wait_committed(f"shared/from_{name}.md", name)
    akashi, hermes = two
    (hermes.shared / "from_akashi.md").write_text("word rewritten by hermes\n")
    (akashi.shared / "from_hermes.md").unlink()
    akashi.wait_committed("shared/from_akashi.md", "hermes")
    akashi.wait_committed("shared/from_hermes.md", "akashi")
    assert akashi.authors_of("shared/from_akashi.md") == ["hermes", "akashi"]
    assert git(akashi.vault, "status", "--porcelain") == ""
    assert set(git(akashi.vault, "log", "--format=%cn").split("\n")) == {"Pat Person"}


def test_a_file_renamed_by_another_is_that_ones_commit(two: tuple[Mount, Mount]) -> None:
    akashi, hermes = two
    akashi.wait_committed("shared/from_akashi.md", "akashi")
    (hermes.shared / "from_akashi.md").rename(hermes.shared / "moved.md")
    akashi.wait_committed("shared/moved.md", "hermes")
    akashi.wait_committed("shared/from_akashi.md", "hermes")


def test_one_agent_sees_nothing_of_the_other_by_any_way(two: tuple[Mount, Mount]) -> None:
    akashi, hermes = two
    (akashi.behind / "of_owner.md").write_text("word of the owner #onlyowner\n")
    (akashi.vault / "at_top.md").write_text("word at the top #onlyowner\n")
    assert os.listdir(akashi.point) == ["memory"]
    assert sorted(os.listdir(akashi / "memory")) == ["private", "shared"]
    assert os.listdir(akashi / "memory/private") == ["akashi"]
    found = akashi.bash("find one; grep -r word one")
    asked = [":search?word", ":recall:word", ":recall", ":tags", ":stats", ":search?onlyhermes"]
    found += "".join(akashi.ask(node) for node in asked)
    for hidden in ("of_hermes", "onlyhermes.md", "onlyowner", "of_owner", "at_top"):
        assert hidden not in found
    assert "from_hermes" in found
    assert akashi.ask(":stats").startswith("memories 3\n")
    assert hermes.ask(":tags") == "1 onlyhermes\n"
    assert "of_akashi" not in hermes.search("word")


def test_an_agent_is_told_of_its_own_mounts_alone(two: tuple[Mount, Mount]) -> None:
    akashi, hermes = two
    for more in ((), ("--json",)):
        told = run_avm("status", "--agent", "akashi", *more).stdout
        assert str(akashi.point) in told
        assert str(hermes.point) not in told and "of_hermes" not in told
    assert str(hermes.point) in run_avm("status").stdout


def test_what_is_not_the_agents_does_not_exist(two: tuple[Mount, Mount]) -> None:
    akashi, hermes = two
    (akashi.behind / "of_owner.md").write_text("word\n")
    theirs = "memory/private/hermes/of_hermes.md"
    for rel in (
        theirs, f"{theirs}:meta", "memory/private/hermes", "memory/private/hermes/:search?word",
        "memory/private/nobody", "memory/of_owner.md", "memory/of_owner.md:meta", ".gitattributes",
        ".avm/format", ".git", ".git/config", ".GIT", "memory/private/:nosuch",
    ):  # fmt: skip
        assert failing(partial(os.stat, akashi / rel)) == "ENOENT", rel
        assert failing(partial(os.open, akashi / rel, os.O_RDONLY)) == "ENOENT", rel
    assert (hermes / theirs).exists()
    assert run_avm("cat", "--agent", "akashi", f"/{theirs}").returncode == 6


def test_an_agent_writes_only_in_its_own_and_the_shared_folder(two: tuple[Mount, Mount]) -> None:
    akashi, _ = two
    mine = akashi.private / "of_akashi.md"
    for rel, expected in {
        "memory/private/hermes/x.md": "ENOENT",
        "memory/private/nobody/x.md": "ENOENT",
        "memory/x.md": "EACCES",
        "x.md": "EACCES",
        ".git": "EACCES",
        ".avmignore": "EACCES",
        "memory/shared/.gitignore": "EACCES",
        "memory/shared/.gitattributes": "EACCES",
        "memory/private/akashi/.avmignore": "EACCES",
    }.items():
        target = akashi / rel
        acts = {
            "write": partial(target.write_text, "x"),
            "mkdir": target.mkdir,
            "rename": partial(mine.rename, target),
            "link": partial(os.link, mine, target),
            "symlink": partial(os.symlink, "x", target),
        }
        assert {what: failing(act) for what, act in acts.items()} == dict.fromkeys(acts, expected)
    assert mine.read_text() == "word private #onlyakashi\n"
    assert failing((akashi / "memory/shared").rmdir) == "EACCES"
    assert failing(partial(os.rename, akashi / "memory/private/akashi", akashi / "x")) == "EACCES"


def test_a_link_in_the_vault_leads_an_agent_nowhere(two: tuple[Mount, Mount]) -> None:
    akashi, _ = two
    shared = akashi.behind / "shared"
    (shared / "file.md").symlink_to("../private/hermes/of_hermes.md")
    (shared / "folder").symlink_to("../private/hermes")
    (shared / "vault").symlink_to("../../.git")
    for rel in ("file.md", "folder/of_hermes.md", "vault/config", "folder/:search?word"):
        assert failing((akashi.shared / rel).read_bytes) == "ENOENT"
    assert "onlyhermes" not in akashi.search("word") + akashi.ask(":tags")


def test_a_link_put_in_the_place_of_a_folder_leads_nowhere(two: tuple[Mount, Mount]) -> None:
    """The kernel remembers the folder for a second; another mount, or a pull, puts a link there."""
    akashi, hermes = two
    (akashi.behind / "of_owner").mkdir()
    (akashi.behind / "of_owner/same.md").write_text("word\n")
    for number in range(5):
        folder = akashi.shared / f"folder{number}"
        folder.mkdir()
        (folder / "same.md").write_text("own\n")
        there = hermes.shared / folder.name
        there.rename(hermes.shared / f"moved{number}")
        there.symlink_to("../of_owner")
        for act in (
            (folder / "same.md").read_text,
            (folder / "same.md").unlink,
            partial((folder / "new.md").write_text, "new"),
            partial((folder / "same.md").rename, akashi.private / "mine.md"),
            partial(os.link, folder / "same.md", akashi.private / "mine.md"),
            partial(os.truncate, folder / "same.md", 0),
        ):
            assert failing(act) == "ENOENT"
    assert os.listdir(akashi.behind / "of_owner") == ["same.md"]
    assert (akashi.behind / "of_owner/same.md").read_text() == "word\n"


def test_the_owner_sees_all_but_git(mounting: Mounting) -> None:
    owner = mounting()
    (owner.vault / "top.md").write_text("word\n")
    assert sorted(os.listdir(owner.point)) == [".avm", ".gitattributes", "memory", "top.md"]
    assert failing(partial(os.stat, owner / ".git")) == "ENOENT"
    assert failing(partial(os.listdir, owner / ".git")) == "ENOENT"
    assert failing((owner / ".git").mkdir) == "EACCES"
    assert failing(partial((owner / ".git/x").write_text, "x")) == "ENOENT"
    assert "fatal: not a git repository" in owner.bash("cd M && git status 2>&1; true")
    assert "top.md" in owner.search("word")


def test_a_quota_is_a_full_disk(mounting: Mounting, home: Path) -> None:
    """What programs are told, and that nothing of what was there is lost."""
    run_avm("init", str(home / "avm"))
    config = home / "avm/.git/avm/config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text('[agents.akashi]\nquota = { files = 2, bytes = "1 kB" }\n')
    mount = mounting("one", agent="akashi")
    one = mount.private / "one.md"
    one.write_text("x" * 900 + "\n")
    said = mount.bash(
        "for f in two three; do echo x > one/memory/private/akashi/$f.md; done 2>&1; true"
    )
    assert "three.md: Disk quota exceeded" in said
    with one.open("ab", buffering=0) as file:
        assert failing(lambda: file.write(b"y" * 200)) == "EDQUOT"
    assert one.read_text() == "x" * 900 + "\n"
    one.write_text("short\n")
    (mount.private / "two.md").write_text("y" * 900)
    assert "quota    2 of 2 files, 906 of 1,000 bytes" in mount.ask(":status")
    lines = (config.parent / "state/audit.jsonl").read_text().splitlines()
    assert {r["path"] for r in map(json.loads, lines) if "denied" in r} == {
        "/memory/private/akashi/three.md",
        "/memory/private/akashi/one.md",
    }
