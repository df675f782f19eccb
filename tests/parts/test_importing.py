"""Leaving one long file: its sections become memories, once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, git, run_avm

from avm import AVM
from avm.base import memory_file

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import SHAPES, Maker

TEXT = """\
# Project

What every session should know.

## Build

Run `make`. It takes three minutes.

### Tests

pytest, two at a time.

## Deploy

By hand, on Mondays.
"""
SOURCES = {
    "Project": "CLAUDE.md > Project",
    "Build": "CLAUDE.md > Build",
    "Build > Tests": "CLAUDE.md > Build > Tests",
    "Deploy": "CLAUDE.md > Deploy",
}


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    with AVM(tmp_path / "v", semantic="off") as opened:
        yield opened


def fronts(avm: AVM) -> dict[str, str]:
    """The source of each memory, by its title."""
    files = (avm.store.vault.root / "memory").rglob("*.md")
    read = [memory_file.parse(file.read_bytes()).front for file in files]
    return {front.title or "": front.source or "" for front in read}


def test_each_section_is_a_memory_that_says_where_it_is_from(avm: AVM) -> None:
    done = avm.import_text(TEXT, "CLAUDE.md")
    assert (len(done.new), done.there, done.left) == (4, [], {})
    assert all(path.startswith("/memory/shared/claude/") for path in done.new)
    assert fronts(avm) == SOURCES
    assert "three minutes" in avm.recall("how long does the build take")


def test_an_agents_are_its_own(avm: AVM) -> None:
    done = avm.agent_memory("akashi").import_text(TEXT, "MEMORY.md")
    assert all(path.startswith("/memory/private/akashi/memory/") for path in done.new)


def test_done_again_it_makes_nothing_twice(avm: AVM) -> None:
    first = avm.import_text(TEXT, "CLAUDE.md")
    again = avm.import_text(TEXT, "CLAUDE.md")
    assert (again.new, sorted(again.there)) == ([], sorted(first.new))
    assert len(avm.memories()) == 4


def test_a_section_that_moved_in_the_file_is_known_by_its_headings(avm: AVM) -> None:
    avm.import_text(TEXT, "CLAUDE.md")
    build, deploy = TEXT.split("## Deploy")
    turned = f"# Project\n\n## Deploy{deploy}\n{build.replace('# Project', '', 1)}"
    assert avm.import_text(turned, "CLAUDE.md").new == []


def test_what_differs_is_left_until_it_is_asked_for(avm: AVM) -> None:
    avm.import_text(TEXT, "CLAUDE.md")
    edited = TEXT.replace("Mondays", "Fridays")
    done = avm.import_text(edited, "CLAUDE.md")
    assert (done.new, len(done.there), len(done.differing)) == ([], 3, 1)
    assert "Fridays" not in avm.recall("deploy")
    assert avm.import_text(edited, "CLAUDE.md", update=True, dry_run=True).updated
    assert "Fridays" not in avm.recall("deploy")
    assert avm.import_text(edited, "CLAUDE.md", update=True).updated == done.differing
    assert "Fridays" in avm.recall("deploy") and len(avm.memories()) == 4


def test_headings_of_one_name_are_told_apart(avm: AVM) -> None:
    text = "## Notes\nfirst\n## Notes\nsecond\n"
    assert len(avm.import_text(text, "a.md").new) == 2
    assert len(avm.memories()) == 2
    assert len(avm.import_text(text, "a.md").there) == 2


def test_a_dry_run_writes_nothing(avm: AVM) -> None:
    assert len(avm.import_text(TEXT, "CLAUDE.md", dry_run=True).new) == 4
    assert avm.memories() == []


def test_a_section_with_a_secret_is_left_and_named(avm: AVM) -> None:
    token = SHAPES["github-token"](Maker(3))
    done = avm.import_text(f"{TEXT}\n## Access\n\nuse {token}\n", "CLAUDE.md")
    assert list(done.left) == ["Access"] and "secret" in str(done.left["Access"])
    assert len(done.new) == 4
    done = avm.import_text(f"{TEXT}\n## Access\n\nuse {token}\n", "CLAUDE.md", allow_secret=True)
    assert (len(done.new), done.left) == (1, {})


def test_what_is_not_in_the_file_any_more_is_named(avm: AVM) -> None:
    avm.import_text(TEXT, "CLAUDE.md")
    done = avm.import_text(TEXT.replace("## Deploy", "## Shipping"), "CLAUDE.md")
    assert (done.new, done.gone) == (
        ["/memory/shared/claude/Shipping.md"], ["/memory/shared/claude/Deploy.md"]
    )  # fmt: skip
    assert avm.import_text("# Other\n\ntext\n", "CLAUDE.md.bak").gone == []


def test_files_of_one_name_are_told_apart(avm: AVM) -> None:
    one = avm.import_text(TEXT, "~/garden/CLAUDE.md")
    two = avm.import_text(TEXT.replace("Mondays", "Fridays"), "~/.claude/CLAUDE.md")
    assert (len(one.new), len(two.new), two.differing) == (4, 4, [])
    assert all(path.startswith("/memory/shared/garden/claude/") for path in one.new)
    assert all(path.startswith("/memory/shared/claude/claude/") for path in two.new)


def test_a_full_quota_is_said_once(tmp_path: Path) -> None:
    run_avm("init", str(tmp_path / "v"))
    (tmp_path / "v/.git/avm/config.toml").write_text("[agents.bob]\nquota = { files = 1 }\n")
    (tmp_path / "CLAUDE.md").write_text(TEXT)
    done = run_avm(
        "--vault", str(tmp_path / "v"), "import", "--agent", "bob", str(tmp_path / "CLAUDE.md")
    )
    assert done.returncode == 18 and "1 new, 3 not taken" in done.stdout
    assert done.stderr.count("\n") == 1 and "Build and 2 more: " in done.stderr


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    run_avm("init", str(tmp_path / "v"))
    (tmp_path / "CLAUDE.md").write_text(TEXT)
    (tmp_path / "AGENTS.md").symlink_to("CLAUDE.md")
    told = [
        run_avm("--vault", str(tmp_path / "v"), "import", str(tmp_path / name)).stdout
        for name in ("CLAUDE.md", "AGENTS.md")
    ]
    assert "4 new" in told[0] and "4 there already" in told[1]


def test_front_matter_of_the_file_is_no_section(avm: AVM) -> None:
    done = avm.import_text(f"---\ndescription: rules\n---\n{TEXT}", "rules.mdc")
    assert len(done.new) == 4 and "description" not in avm.recall("rules")


def test_the_command_tells_what_it_saves(tmp_path: Path) -> None:
    run_avm("init", tmp_path / "v")
    filler = "".join(f"\n## Part {n}\n\n{f'word{n} ' * 60}\n" for n in range(40))
    (tmp_path / "CLAUDE.md").write_text(TEXT + filler)
    told = run_avm("--vault", tmp_path / "v", "import", tmp_path / "CLAUDE.md").stdout
    assert "CLAUDE.md: 44 new" in told
    before, most = (
        int(line.split(mark)[1].split()[0].replace(",", ""))
        for line, mark in zip(told.splitlines()[1:3], ("before: ", " to "), strict=True)
    )
    assert before > 2500 and most <= 2000
    assert (
        "44 there already"
        in run_avm("--vault", tmp_path / "v", "import", tmp_path / "CLAUDE.md").stdout
    )
    assert git(tmp_path / "v", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(None, 6, "no file at"), (b"\xff\xfe\x00", 2, "is not UTF-8")],
    ids=["missing", "not text"],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, code: int, said: str
) -> None:
    run_avm("init", tmp_path / "v")
    if content is not None:
        (tmp_path / "x.md").write_bytes(content)
    done = run_avm("--vault", tmp_path / "v", "import", tmp_path / "x.md")
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
