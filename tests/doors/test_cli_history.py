"""log, show, diff, blame and the past as people type them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import git, run_avm

RULE = "memory/shared/rule.md"


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the zone of virtual names."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("AVM_SEMANTIC", "off")


@pytest.fixture
def vault() -> Path:
    """~/avm with a rule that akashi made on 1 November, late in the evening of Berlin, and the
    person moved and changed on the 3rd."""
    home = Path.home()
    run_avm("init")
    root = home / "avm"
    place = root / RULE
    lines = "".join(f"line {n}\n" for n in range(8))
    (root / "memory/shared/old.md").write_text(lines)
    git(root, "add", ".")
    _commit(root, "2026-11-01T22:30:00Z", "remember: old", "akashi")
    git(root, "mv", "memory/shared/old.md", RULE)
    place.write_text(lines.replace("line 3", "line three"))
    (root / "memory/private/hermes").mkdir()
    (root / "memory/private/hermes/h.md").write_text("secret")
    git(root, "add", ".")
    _commit(root, "2026-11-03T12:00:00Z", "Tidy", None)
    return root


def _commit(root: Path, moment: str, subject: str, agent: str | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_AUTHOR_DATE", moment)
        patch.setenv("GIT_COMMITTER_DATE", moment)
        if agent:
            patch.setenv("GIT_AUTHOR_NAME", agent)
            patch.setenv("GIT_AUTHOR_EMAIL", f"{agent}@agents.avm.invalid")
        git(root, "commit", "--quiet", "-m", subject)


def ok(*args: str, **env: str) -> str:
    """What a command that succeeds without a word on stderr prints."""
    done = run_avm(*args, cwd=Path.home(), **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fails(code: int, said: str, *args: str) -> None:
    """A command that prints nothing but one line with `said` in it."""
    done = run_avm(*args, cwd=Path.home())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("avm: ") and done.stderr.count("\n") == 1
    assert said in done.stderr


def short(root: Path, rev: str) -> str:
    """The beginning of a commit's hash."""
    return git(root, "rev-parse", rev)[:7]


def test_log(vault: Path) -> None:
    new, old = short(vault, "HEAD"), short(vault, "HEAD~1")
    first = f"{new}  2026-11-03 13:00  Pat Person  Tidy\n"
    second = f"{old}  2026-11-01 23:30  akashi  remember: old\n"
    assert ok("log", RULE) == first + second
    assert ok("log", RULE, "--limit", "1") == first
    assert ok("log", RULE, "--agent", "akashi") == second
    assert ok("log", RULE, "--since", "2026-11-02") == first
    assert ok("log").splitlines()[0] == first.strip() + "  (3 files)"
    assert ok("--agent", "akashi", "log").splitlines()[0].endswith("  update 2 memories  (2 files)")
    assert ok("--agent", "akashi", "log", "--agent", "akashi") == second
    assert ok("log", AVM_AGENT="hermes", TZ="UTC").startswith(f"{new}  2026-11-03 12:00  Pat")
    (entry, _) = json.loads(ok("log", RULE, "--json"))
    assert entry["hash"] == git(vault, "rev-parse", "HEAD")
    assert entry["paths"]["/memory/shared/old.md"] == "deleted"
    assert (entry["when"], entry["agent"]) == ("2026-11-03T12:00:00+00:00", None)


def test_log_of_nothing(vault: Path) -> None:
    for args in (["--agent", "nobody"], ["--since", "2026-11-04"]):
        done = run_avm("log", RULE, *args, cwd=Path.home())
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    fails(6, "no memory at /memory/shared/never.md", "log", "memory/shared/never.md")
    fails(6, "no memory at", "--agent", "akashi", "log", "memory/private/hermes/h.md")
    fails(2, "limit '0'", "log", "--limit", "0")
    fails(2, "since 'soon'", "log", "--since", "soon")
    fails(2, "agent 'No'", "log", "--agent", "No")


def test_show(vault: Path) -> None:
    assert "line three" in ok("show", RULE)
    # The end of 1 November in Berlin is 23:00 UTC; what git has of 22:30 UTC is in.
    for rev in ("2026-11-01", "2026-11-01T23:30", "~1", "HEAD~1", short(vault, "HEAD~1")):
        assert "line 3\n" in ok("show", f"{RULE}@{rev}"), rev
        assert "line 3\n" in ok("show", RULE, "--at", rev), rev
    fails(6, "nothing was committed yet at '2026-11-01T23:29'", "show", f"{RULE}@2026-11-01T23:29")
    assert json.loads(ok("show", "--json", f"{RULE}@~1"))["rev"] == "~1"
    fails(6, "no such revision: 'nope'", "show", f"{RULE}@nope")
    fails(2, "'2026-13-01' is no date", "show", f"{RULE}@2026-13-01")
    fails(6, "no memory at /nope.md@~1", "show", "nope.md@~1")
    fails(6, "no such revision: '--output=x'", "show", RULE, "--at=--output=x")


def test_a_name_with_an_at_in_it(vault: Path) -> None:
    name = f"{RULE}@~1"
    (vault / name).write_text("a real file\n")
    (vault / "memory/shared/a@b.md").write_text("one\n")
    git(vault, "add", ".")
    _commit(vault, "2026-11-05T12:00:00Z", "At", None)
    (vault / "memory/shared/a@b.md").unlink()
    git(vault, "commit", "-qam", "Gone")
    assert ok("show", name) == "a real file\n"
    assert "line three" in ok("show", f"{RULE}@HEAD")
    assert ok("show", "memory/shared/a@b.md@~1") == "one\n"
    assert ok("show", "memory/shared/a@b.md") == "one\n"


def test_diff_and_blame(vault: Path) -> None:
    new, old = short(vault, "HEAD"), short(vault, "HEAD~1")
    text = ok("diff", RULE)
    assert text.splitlines()[:2] == [
        f"--- a/memory/shared/old.md\t{old} 2026-11-01T22:30:00Z",
        f"+++ b/{RULE}\t{new} 2026-11-03T12:00:00Z",
    ]
    assert ok("diff", RULE, "2026-11-01", "HEAD") == text
    assert "-line 3\n+line three\n" in ok("diff", RULE, "~1")
    assert ok("diff", RULE, "HEAD") == ""
    assert json.loads(ok("diff", "--json", RULE))["diff"] == text
    lines = ok("blame", RULE).splitlines()
    assert lines[2] == f"{old}  akashi      2026-11-01  line 2"
    assert lines[3] == f"{new}  Pat Person  2026-11-03  line three"
    assert json.loads(ok("blame", "--json", RULE))[3]["author"] == "Pat Person"
    with (vault / RULE).open("a") as file:
        file.write("new\n")
    assert ok("blame", RULE).splitlines()[-1] == " " * 33 + "new"
    fails(6, "no memory at", "diff", "never.md")
    fails(6, "no memory at", "blame", "never.md")


def test_the_past_as_files_without_a_mount(vault: Path) -> None:
    new, old = short(vault, "HEAD"), short(vault, "HEAD~1")
    assert ok("cat", f"{RULE}:history") == (
        f"{new}  2026-11-03T12:00:00Z  Pat Person  Tidy\n"
        f"{old}  2026-11-01T22:30:00Z  akashi  remember: old  (/memory/shared/old.md)\n"
    )
    assert ok("cat", f"{RULE}:diff") == ok("diff", RULE)
    assert "line 3\n" in ok("cat", f"{RULE}:at:~1")
    assert "line 3\n" in ok("cat", f":at:{old}/memory/shared/old.md")
    # Dates in names are UTC: the first of November there ends at one o'clock in Berlin.
    assert "line 3\n" in ok("cat", ":at:2026-11-01/memory/shared/old.md")
    fails(6, "no memory at", "cat", f":at:{old}/{RULE}")
    fails(6, "no memory at", "cat", "--agent", "akashi", ":at:HEAD/memory/private/hermes/h.md")
    fails(6, "no file at", "cat", ":at:HEAD/memory")
    git(vault, "branch", "side/try", "HEAD~1")
    assert "line 3\n" in ok("cat", f"{RULE}:at:side%2Ftry")
    fails(6, "no such revision: 'side/try'", "cat", "--agent", "akashi", f"{RULE}:at:side%2Ftry")


def test_the_log_loads_neither_the_index_nor_libgit2(vault: Path) -> None:
    """It is asked for often, and 200 ms are not much."""
    uncovered = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}  # it loads sqlite3
    timed = {"PYTHONPROFILEIMPORTTIME": "1", **uncovered, **_path()}
    done = run_avm("log", RULE, cwd=Path.home(), **timed)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "avm.vault.log" in loaded
    assert not loaded & {"pygit2", "numpy", "sqlite3", "yaml", "avm.index.index", "frontmatter"}


def _path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
