"""The command line as people type it: output, JSON, exit codes, one line for a mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLE_NOW, git, run_avm

from avm import AVM
from avm.cli import VERBS
from avm.cli.doctor import CHECKS
from avm.index.database import FILE

BODY = "RSI > 70 → exit\n"
RULE = f"---\ntitle: rule\nimportance: 0.9\ntags: [trading]\n---\n{BODY}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with a few memories, to copy from."""
    root = tmp_path_factory.mktemp("cli") / "vault"
    with pytest.MonkeyPatch.context() as patch:
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Pat Person")
            patch.setenv(f"GIT_{role}_EMAIL", "pat@example.org")
        with AVM(root, semantic="off") as avm:
            avm.write("/memory/private/akashi/rule.md", RULE)
            avm.write("/memory/shared/deep/zebra: note.md", "zebra 日本\n")
            avm.write("/notes/mine.md", "zebra of the owner\n")
            avm.commit()
        git(root, "add", "notes")
        git(root, "commit", "--quiet", "-m", "Mine")
    return root


@pytest.fixture
def vault(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as ~/avm."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    return Path(shutil.copytree(made, Path.home() / "avm"))


def ok(*args: str, cwd: Path | None = None, stdin: bytes = b"", **env: str) -> str:
    """What a command that succeeds without a word on stderr prints."""
    done = run_avm(*args, cwd=cwd or Path.home(), stdin=stdin, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fails(code: int, said: str, *args: str, cwd: Path | None = None, **env: str) -> str:
    """A command prints nothing but one line, returned, with `said` in it, and exits with `code`."""
    done = run_avm(*args, cwd=cwd or Path.home(), **env)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("avm: ") and done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr
    return done.stderr


# Each verb


def test_init_makes_finds_adopts_and_takes_back() -> None:
    home = Path.home()
    assert ok("init") == f"{home}/avm is a new vault\n"
    assert ok("init") == f"{home}/avm is a vault already\n"
    assert json.loads(ok("init", "--json")) == {"vault": f"{home}/avm", "did": "found"}
    notes = home / "notes"
    notes.mkdir()
    (notes / "idea.md").write_text("zebra")
    assert f"avm init --undo {notes}" in ok("init", "notes")
    assert "/idea.md#L1" in ok("search", "zebra", cwd=notes)
    assert "the empty repository that it had made" in ok("init", "notes", "--undo")
    assert sorted(path.name for path in notes.iterdir()) == ["idea.md"]
    fails(5, f"no vault at {notes}: avm init {notes}", "init", "notes", "--undo")
    fails(9, "was made by avm init, not adopted", "init", "avm", "--undo")
    fails(5, ".gitconfig is not a folder", "init", ".gitconfig")


def test_init_warns_of_a_folder_that_is_synced_to_a_cloud() -> None:
    place = Path.home() / "Dropbox" / "vault"
    done = run_avm("init", str(place))
    assert (done.returncode, done.stdout) == (0, f"{place} is a new vault\n")
    assert "synced to Dropbox" in done.stderr and "AVM_STATE_DIR" in done.stderr
    assert done.stderr.count("\n") == 1


def test_remember_every_option(vault: Path) -> None:
    options = [
        "--title", "NVDA: rule", "--importance", "0.8", "--tag", "nvda", "--tag", "#risk,fx",
        "--namespace", "market", "--folder", "us", "--ttl", "30d", "--agent", "akashi",
    ]  # fmt: skip
    path = ok("remember", *options, "RSI", "over", "70", AVM_CLOCK=SAMPLE_NOW)
    assert path == "/memory/shared/market/us/NVDA- rule.md\n"
    assert (vault / path[1:-1]).read_text() == (
        '---\ntitle: "NVDA: rule"\nimportance: 0.8\ntags: [nvda, risk, fx]\n'
        "created: 2026-11-20T09:00:00Z\nexpires: 2026-12-20T09:00:00Z\nagent: akashi\n---\n"
        "RSI over 70\n"
    )
    assert git(vault, "log", "-1", "--format=%an %s") == "akashi remember: NVDA- rule"
    assert git(vault, "status", "--porcelain") == ""


def test_remember_the_same_again_says_so(vault: Path) -> None:
    told = json.loads(ok("remember", "--json", "hello world"))
    assert told == {"path": "/memory/shared/hello_world.md", "hints": []}
    again = run_avm("remember", "hello world")
    assert (again.returncode, again.stdout) == (0, "/memory/shared/hello_world.md\n")
    assert again.stderr == "avm: it was there already: nothing was written\n"


def test_remember_what_is_there_already_and_what_is_a_version(vault: Path) -> None:
    text = "Backups of the quotes run at 02:00 UTC every night"
    path = ok("remember", text)
    again = run_avm("remember", "--on-duplicate", "skip", f"**{text}**")
    assert (again.returncode, again.stdout) == (0, path)
    assert again.stderr == f"avm: already remembered: {path}"
    later = run_avm("remember", "--on-duplicate", "supersede", text.replace("02", "03"))
    assert (later.returncode, later.stderr) == (0, f"avm: it supersedes {path}")
    assert ok("search", "backups").split()[1:2] == [f"{later.stdout.strip()}#L5"]
    fails(2, "on_duplicate 'ask': use one of keep, skip", "remember", "--on-duplicate", "ask", "x")


def test_search(vault: Path) -> None:
    lines = ok("search", "zebra").splitlines()
    assert {re.sub(r"^\d\.\d\d ", "", line) for line in lines} == {
        "/memory/shared/deep/zebra: note.md#L1  zebra 日本",
        "/notes/mine.md#L1  zebra of the owner",
    }
    hits = json.loads(ok("search", "--json", "zebra", "日本"))
    assert hits[0] == {
        "path": "/memory/shared/deep/zebra: note.md",
        "score": 1.0,
        "snippet": "zebra 日本",
        "title": "zebra: note",
        "line": 1,
    }
    assert len(json.loads(ok("search", "--json", "--limit", "1", "zebra"))) == 1
    assert ok("search", "zebra", "--agent", "akashi").count("\n") == 1
    assert ok("--agent", "akashi", "search", "zebra").count("\n") == 1


def test_similar(vault: Path) -> None:
    for name in ("stop", "stop again"):
        ok("remember", "--title", name, "Stops are two daily ranges below the entry")
    path = "memory/shared/stop.md"
    assert ok("similar", path) == (
        "1 memory like it, by text\n1.00 /memory/shared/stop again.md#L5  stop again\n"
    )
    told = json.loads(ok("similar", path, "--json"))
    assert told["by"] == "text" and told["memories"][0]["line"] == 5
    none = run_avm("similar", "memory/private/akashi/rule.md")
    assert (none.returncode, none.stdout) == (1, "Nothing is like it, by text.\n")
    fails(2, "min '7': give a number from 0.0 to 1.0", "similar", path, "--min", "7")
    fails(6, "no memory at", "--agent", "hermes", "similar", "memory/private/akashi/rule.md")


def test_similar_pairs(vault: Path) -> None:
    for name in ("one", "two"):
        (vault / f"memory/shared/{name}.md").write_text("The very same line\n")
    done = run_avm("similar")
    assert (done.returncode, done.stdout) == (
        0,
        "1 pair, by text\n\n1.00 /memory/shared/one.md#L1\n     /memory/shared/two.md#L1\n",
    )
    assert done.stderr.startswith("avm: nothing is embedded") and done.stderr.count("\n") == 1
    assert json.loads(run_avm("similar", "--json").stdout)["pairs"][0]["score"] == 1.0


def test_recall(vault: Path) -> None:
    text = ok("recall", "RSI", "--max-tokens", "200", "--strategy", "recency")
    assert BODY in text and "memory/private/akashi/rule.md#L6" in text
    told = json.loads(ok("recall", "--json", "RSI"))
    assert sorted(told) == ["memories", "passages", "ranked_by", "text", "tokens"]
    assert (told["passages"], told["memories"], told["ranked_by"]) == (1, 1, "text")
    assert "3 passages from 3 of 3 memories" in ok("recall")
    assert json.loads(ok("recall", "--json", "RSI", AVM_RECALL_MAX_TOKENS="60"))["tokens"] <= 60


@pytest.mark.parametrize("verb", ["search", "recall"])
def test_nothing_found_is_exit_code_1(vault: Path, verb: str) -> None:
    done = run_avm(verb, "xyzzy")
    assert (done.returncode, done.stdout, done.stderr) == (1, "Nothing found for 'xyzzy'.\n", "")
    done = run_avm(verb, "xyzzy", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told == [] if verb == "search" else told["passages"] == 0


def test_cat(vault: Path) -> None:
    assert ok("cat", "memory/private/akashi/rule.md") == RULE
    both = ok("cat", "notes/mine.md", ":tags", ":stats")
    assert both.startswith("zebra of the owner\n1 trading\nmemories 3\n")
    meta = json.loads(ok("cat", "memory/private/akashi/rule.md:meta"))
    assert (meta["title"], meta["importance"]) == ("rule", 0.9)
    told = [json.loads(line) for line in ok("cat", "--json", "notes/mine.md", ":tags").splitlines()]
    assert told == [
        {"path": "/notes/mine.md", "text": "zebra of the owner\n"},
        {"path": "/:tags", "text": "1 trading\n"},
    ]


def test_cat_gives_the_bytes(vault: Path) -> None:
    raw = b"\xef\xbb\xbf\xff\0\r\n"
    (vault / "notes/raw.bin").write_bytes(raw)
    done = subprocess.run(
        [sys.executable, "-m", "avm", "cat", "notes/raw.bin"], capture_output=True, check=False
    )
    assert done.stdout == raw


def test_status(vault: Path) -> None:
    (vault / "memory/shared/new.md").write_text("---\ntags: [\n---\nbroken")
    (vault / "memory/shared/old.md").write_text("---\nexpires: 2020-01-01\n---\nold")
    text = ok("status")
    assert text.startswith(f"vault  {vault}\nmounted  nowhere\nindexed  4 memories,")
    for part in (
        "not committed  2\n  /memory/shared/new.md: not committed yet\n",
        "expired  1\n  /memory/shared/old.md\n",
        "unreadable  1\n  /memory/shared/new.md: front matter: ",
    ):
        assert part in text
    told = json.loads(ok("status", "--json"))
    assert told["expired"] == ["/memory/shared/old.md"] and told["mounts"] == []
    assert (told["vault"], told["memories"], told["adopted"]) == (str(vault), 4, False)


def test_commit(vault: Path) -> None:
    assert ok("commit") == "nothing to commit\n"
    (vault / "memory/shared/new.md").write_text("mine")
    (vault / "memory/shared/staged.md").write_text("staged")
    git(vault, "add", "memory/shared/staged.md")
    assert ok("commit", "-m", "Notes of the week") == (
        "1 commit\nleft: /memory/shared/staged.md: staged by you: git commit\n"
    )
    assert git(vault, "log", "-1", "--format=%an %s") == "Pat Person Notes of the week"
    assert git(vault, "diff", "--cached", "--name-only") == "memory/shared/staged.md"
    git(vault, "checkout", "--quiet", "--detach")
    fails(9, "not now: HEAD is detached", "commit")
    done = run_avm("commit", "--json")
    assert (done.returncode, json.loads(done.stdout)["blocked"]) == (9, "HEAD is detached")
    done = run_avm("remember", "while detached")
    assert (done.returncode, done.stdout) == (0, "/memory/shared/while_detached.md\n")
    assert done.stderr == "avm: saved; the commit waits: HEAD is detached\n"


def test_index(vault: Path) -> None:
    assert ok("index") == "3 memories, 3 passages, 0 with an embedding\n"
    shutil.rmtree(vault / ".git/avm/index")
    told = json.loads(ok("index", "--json"))
    assert told == {"memories": 3, "passages": 3, "embedded": 0}
    assert ok("index", "--rebuild") == "3 memories, 3 passages, 0 with an embedding\n"
    assert ok("index", "--check") == "the index is what the files say\n"
    assert json.loads(ok("index", "--check", "--json")) == {"differences": []}
    fails(2, "--check changes nothing", "index", "--check", "--wait")
    fails(7, "only the owner", "index", "--check", "--agent", "akashi")
    with sqlite3.connect(vault / ".git/avm/index" / FILE) as index:
        index.execute("UPDATE memory SET title = 'another', checked_ns = checked_ns + 60000000000")
    index.close()
    done = run_avm("index", "--check")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (1, "", 3)
    assert "the index holds other front matter" in done.stdout
    ok("index", "--rebuild")
    assert ok("index", "--check") == "the index is what the files say\n"


def test_doctor(vault: Path) -> None:
    assert ok("doctor") == f"all is well: {len(CHECKS)} checks\n"
    assert ok("doctor", "--fix") == f"all is well: {len(CHECKS)} checks\n"
    exclude = vault / ".git/info/exclude"
    exclude.write_text("")
    (vault / "memory/private/akashi/bad.md").write_text("---\nttl: ever\n---\nx\n")
    bad = (
        "times: /memory/private/akashi/bad.md: ttl 'ever': not a duration such as 30d;"
        " edit it; until then it counts as absent\n"
    )
    rule = (
        f"exclude-rule: {exclude}: the files of killed writers would show in git status;"
        " avm doctor --fix adds the rule\n"
    )
    assert wrong("doctor") == rule + bad
    assert wrong("doctor", "--agent", "akashi") == bad
    assert wrong("doctor", "--fix") == f"mended: exclude-rule: {exclude}\n" + bad
    assert ".avm-tmp-*" in exclude.read_text()
    data = json.loads(wrong("doctor", "--json"))
    assert (data["checks"], data["mended"]) == (len(CHECKS), [])
    assert [(f["check"], f["path"], f["fixable"], f["note"]) for f in data["findings"]] == [
        ("times", "/memory/private/akashi/bad.md", False, False)
    ]
    (vault / "memory/private/akashi/bad.md").unlink()
    (Path.home() / ".gitconfig").write_text("")
    note, well = ok("doctor").splitlines()
    assert note.startswith("note: identity: git does not know your user.name and user.email")
    assert well.startswith("all is well")


def wrong(*args: str) -> str:
    """What a command prints that has found something wrong."""
    done = run_avm(*args, cwd=Path.home())
    assert (done.returncode, done.stderr) == (1, "")
    return done.stdout


def test_help_and_version() -> None:
    text = ok("--help")
    assert all(f"\n  {verb} " in text for verb in VERBS)
    assert ok("--version").startswith("avm, version ")
    assert "avm search " in ok("search", "-h")
    for verb in VERBS:
        text = _help(verb)
        assert f"avm {verb} " in text
        assert "--json" in text or "Commands:" in text


def _help(verb: str) -> str:
    from click.testing import CliRunner

    from avm.cli import cli

    done = CliRunner().invoke(cli, [verb, "--help"], prog_name="avm")
    assert done.exit_code == 0
    return done.output


def test_a_verb_loads_only_what_it_needs(vault: Path) -> None:
    code = (
        "import sys; sys.argv = ['avm', 'search', 'zebra']\n"
        "from avm.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pygit2', 'torch', 'rich', 'fuse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# stdin


def test_a_dash_is_stdin(vault: Path) -> None:
    raw = "first line\n\nZEBRA-77 日本\n".encode() + b"\xff"
    assert ok("remember", "-", "--title", "piped", stdin=raw) == "/memory/shared/piped.md\n"
    assert (vault / "memory/shared/piped.md").read_bytes().endswith(raw + b"\n")
    assert "piped.md" in ok("search", "-", stdin=b"ZEBRA-77")
    assert "ZEBRA-77" in ok("recall", "-", stdin=b"what of ZEBRA-77?\n")
    assert ok("remember", "a", "-", stdin=b"not read") == "/memory/shared/a.md\n"
    for verb in ("search", "recall"):
        assert run_avm(verb, "-", stdin=b"\xff\xfe\0").returncode == 1


# Paths

NOTE = "memory/shared/deep/zebra: note.md"


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("~", NOTE),
        ("~", f"/{NOTE}"),
        ("~", f"./{NOTE}"),
        ("~", f"{{vault}}/{NOTE}"),
        ("~", f"{{vault}}/memory/../{NOTE}"),
        ("~/avm", NOTE),
        ("~/avm/memory", "shared/deep/zebra: note.md"),
        ("~/avm/memory/shared/deep", "zebra: note.md"),
        ("~/avm/memory/private", "../shared/deep/zebra: note.md"),
        ("~/avm/memory/private", f"/{NOTE}"),
        ("~/avm/notes", f"../{NOTE}"),
        ("~/link", "zebra: note.md"),
    ],
)
def test_paths(vault: Path, folder: str, path: str) -> None:
    (Path.home() / "link").symlink_to(vault / "memory/shared/deep")
    cwd = Path(folder).expanduser()
    assert ok("cat", path.format(vault=vault), cwd=cwd) == "zebra 日本\n"


@pytest.mark.parametrize(
    ("folder", "path", "code", "said"),
    [
        ("~", "../x", 2, "path '../x' leads out of the vault"),
        ("~", "/../x", 2, "leads out of the vault"),
        ("~", "memory/../../x", 2, "leads out of the vault"),
        ("~/avm/memory", "../../x", 2, "leads out of the vault"),
        ("~/avm/memory", "shared/x.md", 6, "no memory at /memory/shared/x.md"),
        ("~", "/etc/passwd", 6, "no memory at /etc/passwd"),
        ("~", ".git/config", 6, "no memory at /.git/config"),
        ("~", "memory/shared", 6, "/memory/shared is a folder"),
        ("~", "", 6, "/ is a folder"),
        ("~", "memory/nosuch/:tags", 6, "no folder at /memory/nosuch"),
        ("~", "nosuch.md:meta", 6, "no memory at /nosuch.md"),
        ("~", ":search?query=x&limit=0", 2, "limit '0': give a whole number"),
        ("~", ":recall:x,strategy=best", 2, "strategy 'best': use one of"),
        ("~", ":nosuch", 6, "no memory at /:nosuch"),
    ],
)
def test_paths_that_lead_nowhere(vault: Path, folder: str, path: str, code: int, said: str) -> None:
    fails(code, said, "cat", path, cwd=Path(folder).expanduser())


def test_folders_are_paths_too(vault: Path) -> None:
    assert ok("search", "zebra", "--folder", "memory").count("\n") == 1
    assert ok("search", "zebra", "--folder", ".", cwd=vault / "notes").count("\n") == 1
    assert ok("cat", ":search?zebra", cwd=vault / "notes").count("\n") == 1
    assert run_avm("search", "zebra", "--folder", ".", cwd=vault / "memory/private").returncode == 1
    fails(2, "leads out", "recall", "--folder", "../..", cwd=vault / "notes")


def test_a_current_folder_that_is_gone(vault: Path) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$0" -m avm cat notes/mine.md'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=Path.home(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# Which vault, for whom


def test_the_option_wins_over_the_variable_and_that_over_the_folder(vault: Path) -> None:
    others = {}
    for name in ("option", "variable", "around"):
        others[name] = str(Path.home() / name)
        ok("init", others[name])
        ok("remember", "--vault", others[name], f"zebra {name}")
    around = Path(others["around"])

    def found(*args: str, **env: str) -> str:
        return ok("search", "zebra", *args, cwd=around, **env).split("zebra ")[1].strip()

    assert found("--vault", others["option"], AVM_VAULT=others["variable"]) == "option"
    assert found(AVM_VAULT=others["variable"]) == "variable"
    assert found() == "around"


def test_the_agent_comes_from_option_variable_or_file(vault: Path) -> None:
    (vault / ".git/avm/config.toml").write_text('agent = "hermes"\n')

    def whose(*args: str, **env: str) -> str:
        path = ok("remember", *args, "x" * (len(args) + len(env) + 1), **env)
        return path.split("/")[3]

    assert whose() == "hermes"
    assert whose(AVM_AGENT="akashi") == "akashi"
    assert whose("--agent", "third", AVM_AGENT="akashi") == "third"


# Mistakes


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nosuch"], 2, "No such command 'nosuch'"),
        (["search"], 2, "Missing argument 'QUERY...'"),
        (["remember"], 2, "Missing argument 'TEXT...'"),
        (["cat"], 2, "Missing argument"),
        (["search", "x", "--nosuch"], 2, "No such option '--nosuch'"),
        (["search", "x", "--limit", "many"], 2, "limit 'many': give a whole number of 1 or more"),
        (["recall", "x", "--max-tokens", "0"], 2, "max_tokens '0': give a whole number"),
        (["recall", "x", "--strategy", "best"], 2, "strategy 'best': use one of recency"),
        (["remember", " "], 2, "text is empty"),
        (["remember", "x", "--importance", "7"], 2, "importance '7': give a number from 0.0"),
        (["remember", "x", "--ttl", "soon"], 2, "'soon': write a number and a unit"),
        (["remember", "x", "--namespace", ".."], 2, "namespace '..': use plain folder names"),
        (["remember", "x", "--folder", "/abs"], 2, "folder '/abs': use plain folder names"),
        (["remember", "x", "--tag", "two words"], 2, "tag 'two words': a tag is one word"),
        (["remember", "x", "--title", "a\nb"], 2, "title 'a\\nb': give one line of text"),
        (["search", "x", "--agent", "Bad Name"], 2, "agent 'Bad Name': use 1 to 63 of"),
        (["--vault", "/nosuch", "status"], 5, "no vault at /nosuch: avm init /nosuch"),
        (["commit", "--vault", "/nosuch"], 5, "no vault at /nosuch: avm init /nosuch"),
        (["cat", "nosuch.md"], 6, "no memory at /nosuch.md"),
        (["cat", "a\nb.md"], 6, "no memory at /a b.md"),
        (["unmount", "nowhere"], 10, "nowhere is not an AVM mount"),
        (["mount", "avm/memory", "--daemon"], 10, "is inside the vault"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(vault: Path, args: Sequence[str], code: int, said: str) -> None:
    fails(code, said, *args)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AVM_BOGUS": "1"}, "AVM_BOGUS: no such setting; there are AVM_AGENT,"),
        ({"AVM_SEMANTIC": "maybe"}, "AVM_SEMANTIC is 'maybe': use one of auto, wait, off"),
        ({"AVM_ON_DUPLICATE": "ask"}, "AVM_ON_DUPLICATE is 'ask': use one of keep, skip"),
        ({"AVM_AGENT": "Bad"}, "agent 'Bad': use 1 to 63 of"),
        ({"AVM_CLOCK": "never"}, "AVM_CLOCK is 'never': give seconds"),
        ({"AVM_COMMIT_QUIET": "2"}, "'2': write a number and a unit"),
        ({"AVM_RECALL_MAX_TOKENS": "-1"}, "AVM_RECALL_MAX_TOKENS is '-1': give a whole number"),
        ({"AVM_DURABILITY": "some"}, "AVM_DURABILITY is 'some': use one of process, power"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_a_bad_variable_is_named(vault: Path, env: dict[str, str], said: str) -> None:
    fails(4, said, "search", "zebra", **env)


@pytest.mark.parametrize("where", ["user", "vault"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nokey = 1\n", "unknown key 'nokey'; there are vault, agent,"),
        ("[commit]\nloud = true\n", "unknown key 'commit.loud'"),
        ("not toml\n", "line 1"),
        ("semantic = 5\n", "semantic is 5: use one of auto, wait, off"),
        ("[recall]\nmax_tokens = true\n", "recall.max_tokens is True: give a whole number"),
        (None, "Is a directory"),
    ],
)
def test_a_bad_configuration_file_is_named(
    vault: Path, where: str, text: str | None, said: str
) -> None:
    user, own = Path.home() / ".config/avm/config.toml", vault / ".git/avm/config.toml"
    file = user if where == "user" else own
    file.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        file.mkdir()
    else:
        file.write_text(text)
    assert f"{file}: " in fails(4, said, "search", "zebra")


def test_nothing_tracked_configures_anything(vault: Path) -> None:
    (vault / ".avm/config.toml").write_text('agent = "hermes"\nnokey = 1\n')
    assert ok("search", "owner").count("\n") == 1


# Pipes


@pytest.fixture
def many(vault: Path) -> Path:
    """So many memories that no pipe holds the answer."""
    for n in range(1_000):
        (vault / f"memory/shared/n{n}.md").write_text(f"giraffe {n} {'word ' * 30}\n")
    return vault


@pytest.mark.parametrize(
    "command",
    ["search giraffe --limit 1000", "cat :search:giraffe,limit=1000", "search giraffe --json"],
)
def test_a_reader_that_leaves_early_is_no_error(many: Path, command: str) -> None:
    script = f'"$0" -m avm {command} | head -c 1; echo " ${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], capture_output=True, check=False, text=True
    )
    assert done.stdout in ("1 0\n", "[ 0\n")
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    ("output", "said"), [("> /dev/full", "No space left on device"), (">&-", "stdout is closed")]
)
def test_output_that_cannot_be_written_is_one_line(vault: Path, output: str, said: str) -> None:
    script = f'"$0" -m avm search zebra {output}'
    done: Any = subprocess.run(
        ["bash", "-c", script, sys.executable], capture_output=True, check=False, text=True
    )
    assert done.returncode == 3
    assert done.stderr == f"avm: cannot write the answer: {said}\n"
