"""The Python face: AVM and AgentMemory, as docs/python.md promises them."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import git, run_avm
from vault_helpers import assert_well

from avm import AVM, AVMError, Hit, ScoringStrategy
from avm.base.errors import AccessError, ExistsError, NotFoundError, NoVaultError, UsageError

MOMENT = "2026-11-20T09:00:00Z"


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """A new vault as its owner sees it, on a day that stands still."""
    monkeypatch.setenv("AVM_CLOCK", MOMENT)
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened
        assert_well(opened)


def on_disk(avm: AVM, path: str) -> Path:
    """Where a vault path is."""
    return avm.store.vault.root / path.lstrip("/")


def paths_of(hits: list[Hit]) -> list[str]:
    """The paths of hits, best first."""
    return [hit.path for hit in hits]


# Opening


def test_importing_costs_nothing() -> None:
    heavy = ["numpy", "pygit2", "torch", "sentence_transformers", "click", "sqlite3", "rich"]
    # What coverage itself loaded before is not counted.
    code = (
        "import sys; before = set(sys.modules); import avm\n"
        f"print([m for m in {heavy} if m in sys.modules and m not in before])"
    )
    assert _python(code) == "[]"


def test_the_library_never_loads_the_model() -> None:
    code = (
        "import sys; from avm import AVM\n"
        "with AVM('v') as a: a.remember('x'); a.search('x'); a.recall('y')\n"
        "print([m for m in ('torch', 'sentence_transformers') if m in sys.modules])"
    )
    assert _python(code) == "[]"


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path.home(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_which_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, else $AVM_VAULT, else around the current folder, else ~/avm."""
    argument, variable, around = (tmp_path / name for name in ("argument", "variable", "around"))
    for folder in (variable, around):
        AVM(folder).close()
    (around / "memory/shared/deep").mkdir()

    def root(*args: Any) -> Path:
        with AVM(*args) as opened:
            return opened.store.vault.root

    monkeypatch.chdir(around / "memory/shared/deep")
    monkeypatch.setenv("AVM_VAULT", str(variable))
    assert root(argument) == argument
    assert root(str(argument)) == argument
    assert root() == variable
    monkeypatch.delenv("AVM_VAULT")
    assert root() == around
    monkeypatch.chdir(tmp_path)
    assert not (Path.home() / "avm").exists()
    assert root() == Path.home() / "avm"
    assert root("~/other") == Path.home() / "other"


@pytest.mark.parametrize("kind", ["folder", "repository", "file", "variable", "variable, absent"])
def test_what_is_no_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("mine")
    elif kind != "variable, absent":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    if kind == "repository":
        git(place, "init", "--quiet")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NoVaultError) as raised:
        if kind.startswith("variable"):
            monkeypatch.setenv("AVM_VAULT", str(place))
            AVM()
        else:
            AVM(place)
    assert str(raised.value) == f"no vault at {place}: avm init {place}"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_repository_around_that_is_no_vault_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    monkeypatch.chdir(tmp_path)
    with AVM() as avm:
        assert avm.store.vault.root == Path.home() / "avm"


@pytest.mark.parametrize("name", ["", "Akashi", "a b", "../hermes", "-a", "a" * 64, None, 5, "ä"])
def test_bad_agent_names(avm: AVM, name: Any) -> None:
    with pytest.raises(UsageError, match=re.escape(f"agent {name!r}: use 1 to 63 of a-z")):
        avm.agent_memory(name)


# Remembering: where it goes


@pytest.mark.parametrize(
    ("agent", "place", "folder"),
    [
        ("akashi", {}, "/memory/private/akashi"),
        ("akashi", {"folder": "trading"}, "/memory/private/akashi/trading"),
        ("akashi", {"folder": "a/b"}, "/memory/private/akashi/a/b"),
        ("akashi", {"namespace": "market"}, "/memory/shared/market"),
        ("akashi", {"namespace": "tech/db", "folder": "pg"}, "/memory/shared/tech/db/pg"),
        (None, {}, "/memory/shared"),
        (None, {"folder": "x"}, "/memory/shared/x"),
        (None, {"namespace": "market"}, "/memory/shared/market"),
    ],
)
def test_placement(avm: AVM, agent: str | None, place: dict[str, str], folder: str) -> None:
    done = avm.view(agent).remember("RSI > 70", title="rule", **place)
    assert (done.path, str(done), done.hints) == (f"{folder}/rule.md", f"{folder}/rule.md", ())
    assert on_disk(avm, done.path).is_file()
    assert paths_of(avm.search("RSI")) == [done.path]


def test_the_bytes_of_a_new_memory(avm: AVM) -> None:
    done = avm.agent_memory("akashi").remember(
        "RSI > 70 → exit", title="NVDA: RSI", importance=0.9, tags="#trading, nvda", ttl="30d"
    )
    assert avm.read(done.path) == (
        '---\ntitle: "NVDA: RSI"\nimportance: 0.9\ntags: [trading, nvda]\n'
        f"created: {MOMENT}\nexpires: 2026-12-20T09:00:00Z\nagent: akashi\n---\n"
        "RSI > 70 → exit\n"
    )
    bare = avm.remember("Market regime: risk-off\n")
    assert bare.path == "/memory/shared/market_regime_risk_off.md"
    assert avm.read(bare.path) == f"---\ncreated: {MOMENT}\n---\nMarket regime: risk-off\n"


def test_the_same_again_is_not_written_twice(avm: AVM) -> None:
    first = avm.remember("one", title="rule", importance=0.9)
    again = avm.remember("one\n", title="rule", importance=0.1)
    assert (again.path, len(again.hints)) == (first.path, 1)
    assert "it was there already" in again.hints[0]
    other = avm.remember("two", title="rule")
    assert (other.path, other.hints) == ("/memory/shared/rule-2.md", ())
    assert avm.remember("two", title="rule").path == other.path
    assert avm.remember("three", title="rule").path == "/memory/shared/rule-3.md"
    assert avm.read(first.path).endswith("importance: 0.9\ncreated: " + MOMENT + "\n---\none\n")


def test_what_has_expired_is_no_answer_to_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_CLOCK", MOMENT)
    with AVM(tmp_path / "v", semantic="off") as avm:
        old = avm.remember("one", title="rule", ttl="1h")
    monkeypatch.setenv("AVM_CLOCK", "2026-11-21T09:00:00Z")
    with AVM(tmp_path / "v", semantic="off") as avm:
        new = avm.remember("one", title="rule")
        assert new.path == "/memory/shared/rule-2.md"
        assert [info.path for info in avm.memories()] == [new.path]
        assert on_disk(avm, old.path).exists()


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("NVDA RSI rule", "NVDA RSI rule.md"),
        ("rule.md", "rule.md"),
        ("Rule.MD", "Rule.md"),
        ("a/b", "a-b.md"),
        ("../../etc/passwd", "etc-passwd.md"),
        (".hidden", "hidden.md"),
        ("#tag", "tag.md"),
        ("...", "memory.md"),
        ("con", "con_.md"),
        ("what? why: |how|", "what- why- -how-.md"),
        (":search?x", "search-x.md"),
        ("  blanks  ", "blanks.md"),
        ("デプロイ", "デプロイ.md"),
        ("e\u0301", "é.md"),
        ("yes", "yes.md"),
        ("2026-11-20", "2026-11-20.md"),
        ('say "no"', "say -no-.md"),
        ("x" * 400, "x" * 200 + ".md"),
    ],
)
def test_titles(avm: AVM, title: str, name: str) -> None:
    done = avm.remember("text", title=title)
    assert done.path == f"/memory/shared/{name}"
    assert avm.meta(done.path)["title"] == title.strip()
    assert avm.meta(done.path)["problems"] == []
    assert avm.remember("text", title=title).path == done.path
    assert [info.path for info in avm.memories()] == [done.path]


@pytest.mark.parametrize(
    "text",
    [
        "a\n---\nb",
        "---\ntitle: mine\n---\nbody",
        "\ufeffbom",
        "x\r\ny",
        "\n\nlate",
        "日本 🙂",
        "...",
    ],
)
def test_any_text_is_a_body(avm: AVM, text: str) -> None:
    """A text that looks like front matter is text: the title is the caller's."""
    done = avm.remember(text, title="plain")
    assert avm.read(done.path).endswith(f"---\n{text}\n")
    assert avm.meta(done.path)["title"] == "plain"
    assert avm.meta(done.path)["problems"] == []


# Bad values

FOLDERS = ["..", "a/../b", "/etc", "", "a//b", ".git", "a/.b", "a:b", "a\nb", " a", "a\\b", "../x"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(
            ("importance", v, "give a number from 0.0 to 1.0")
            for v in (7, -0.1, "x", True, math.nan, math.inf, [], "")
        ),
        *(
            ("ttl", v, "such as 30d, 12h or 1d12h")
            for v in ("soon", "", "0s", "-3d", 30, "d", "9999999y")
        ),
        *(("namespace", v, "use plain folder names joined by '/'") for v in FOLDERS),
        *(("folder", v, "use plain folder names joined by '/'") for v in FOLDERS),
        *(("tags", v, "a tag is one word") for v in ("two words", "a,,b", "")),
        ("title", "a\nb", "give one line of text"),
        ("title", "a\u2028b", "give one line of text"),
        ("title", " ", "give one line of text"),
        ("title", 5, "give one line of text"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    avm: AVM, name: str, value: Any, allowed: str
) -> None:
    with pytest.raises(AVMError) as raised:
        avm.agent_memory("akashi").remember("text", **{name: value})
    message = str(raised.value)
    assert name.rstrip("s") in message and allowed in message
    shown = str(value) if name == "ttl" else value
    assert repr(shown) in message or (name == "tags" and "''" in message)
    assert "\n" not in message
    assert avm.memories() == []
    assert not (on_disk(avm, "/memory/private/akashi")).exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda a: a.remember(""), "text is empty"),
        (lambda a: a.remember(" \n\t"), "text is empty"),
        (lambda a: a.remember(b"bytes"), "text is a bytes: give a str"),
        (lambda a: a.remember(None), "text is a NoneType: give a str"),
        (lambda a: a.remember("x", tags=["ok", 5]), "tag 5: a tag is one word"),
        (lambda a: a.remember("x", tags=5), "tags 5: give names"),
        (lambda a: a.remember("x", ttl=timedelta(0)), "ttl 0:00:00: give a time"),
        (lambda a: a.write("/memory/shared/x.md", 5), "text is a int: give a str or bytes"),
        (lambda a: a.write("/memory/shared/x.md", "\ud800"), "half a character"),
        (lambda a: a.search(5), "query 5: give a str"),
        (lambda a: a.recall(None), "query None: give a str"),
        (lambda a: a.search("x", 0), "limit 0: give a whole number of 1 or more"),
        (lambda a: a.search("x", "many"), "limit 'many': give a whole number"),
        (lambda a: a.search("x", 1.5), "limit 1.5: give a whole number"),
        (lambda a: a.search("x", folder="../x"), "path '../x'"),
        (lambda a: a.search("x", folder="\udcff"), "not UTF-8"),
        (lambda a: a.recall("x", -1), "max_tokens -1: give a whole number of 1 or more"),
        (lambda a: a.recall("x", True), "max_tokens True: give a whole number"),
        (lambda a: a.recall("x", strategy="best"), "'best': use one of recency, importance"),
        (lambda a: a.read("/memory/../x"), "no empty, '.' or '..' component"),
        (lambda a: a.read("a\0b"), "no empty, '.' or '..' component"),
        (lambda a: a.exists("a\ud800b"), "half a character"),
        (lambda a: a.write("memory/shared/" + "x" * 300, "x"), "File name too long"),
        (lambda a: a.write("x" * 300 + "/y.md", "x"), "File name too long"),
    ],
)
def test_other_bad_values(avm: AVM, call: Any, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        call(avm)
    assert avm.memories() == []


def test_a_bad_semantic_mode_names_the_modes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="semantic is 'on': use one of auto, wait, off"):
        AVM(tmp_path / "v", semantic="on")
    assert not (tmp_path / "v").exists()


# Files


def test_write_read_forget(avm: AVM) -> None:
    path = "/memory/shared/deep/er/note.md"
    raw = b"\xef\xbb\xbf---\r\ntitle: x   # mine\r\nimportance: 0.10\r\n---\r\nbody \xff\r\n"
    assert not avm.exists(path)
    avm.write(path, raw)
    assert avm.exists(path) and avm.exists(path.lstrip("/"))
    assert avm.read_bytes(path) == on_disk(avm, path).read_bytes() == raw
    assert avm.read(path) == raw.decode("utf-8", "replace")
    avm.write(path, "new text\n")
    assert avm.read(path) == "new text\n"
    assert paths_of(avm.search("new text")) == [path]
    avm.forget(path)
    assert not avm.exists(path) and avm.search("new text") == []
    for call in (avm.read, avm.read_bytes, avm.forget, avm.meta):
        with pytest.raises(NotFoundError, match=re.escape(f"no memory at {path}")):
            call(path)


def test_a_file_keeps_its_mode_when_written_over(avm: AVM) -> None:
    avm.write("/memory/shared/x.md", "one")
    on_disk(avm, "/memory/shared/x.md").chmod(0o640)
    avm.write("/memory/shared/x.md", "two")
    assert on_disk(avm, "/memory/shared/x.md").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/", AccessError),
        ("/.git/config", AccessError),
        ("/.GIT/hooks/pre-commit", AccessError),
        ("/memory/shared", ExistsError),
        ("/memory/shared/out.md", AccessError),
        ("/memory/shared/away/x.md", AccessError),
        ("/memory/shared/file.md/x.md", AccessError),
    ],
)
def test_what_even_the_owner_does_not_write(
    avm: AVM, tmp_path: Path, path: str, error: type[AVMError]
) -> None:
    shared = on_disk(avm, "/memory/shared")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside.md").write_text("mine")
    (shared / "out.md").symlink_to(tmp_path / "outside.md")
    (shared / "away").symlink_to(tmp_path / "outside")
    (shared / "file.md").write_text("a file")
    with pytest.raises(error):
        avm.write(path, "changed")
    assert (tmp_path / "outside.md").read_text() == "mine"
    assert list((tmp_path / "outside").iterdir()) == []
    with pytest.raises(NotFoundError):
        avm.read("/memory/shared/out.md")
    assert [info.path for info in avm.memories()] == ["/memory/shared/file.md"]


def test_attachments_are_files_but_no_memories(avm: AVM) -> None:
    avm.write("/memory/shared/data.csv", b"a,b\n1,2\n")
    assert avm.read("/memory/shared/data.csv") == "a,b\n1,2\n"
    assert avm.exists("/memory/shared/data.csv")
    assert avm.memories() == [] and avm.search("a,b") == []
    avm.forget("/memory/shared/data.csv")
    assert not avm.exists("/memory/shared/data.csv")


# What there is


def test_lists_are_sorted_narrowed_and_cut(avm: AVM) -> None:
    for day, name, front in (
        (1, "a", "importance: 0.2"),
        (2, "b", "importance: 0.9"),
        (3, "c", ""),
    ):
        tags = {"a": "x", "b": "x/y", "c": "xy"}[name]
        file = on_disk(avm, f"/memory/shared/{name}.md")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"---\ncreated: 2026-01-0{day}\ntags: [{tags}]\n{front}\n---\ntext\n")

    def names(**how: Any) -> str:
        return "".join(Path(info.path).stem for info in avm.memories(**how))

    assert names() == names(sort="path") == "abc"
    assert names(sort="importance") == "bca"
    assert names(sort="changed") == "cba"
    assert names(tag="x") == names(tag="X") == "ab"
    assert names(limit=2) == "ab" and names(limit=2, offset=1) == "bc" and names(offset=9) == ""
    for bad in ({"sort": "colour"}, {"limit": 0}, {"offset": -1}, {"tag": "a b"}):
        with pytest.raises(UsageError, match=str(next(iter(bad)))):
            avm.memories(**bad)


def test_links_and_backlinks_are_what_the_viewer_may_see(avm: AVM) -> None:
    hub = avm.remember("see [[spoke]], [[secret]] and [[nowhere]]", title="hub").path
    spoke = avm.remember("back to [[hub]], [[hub]] and [[spoke]]", title="spoke").path
    akashi = avm.agent_memory("akashi")
    secret = akashi.remember("of [[hub]]", title="secret").path
    assert avm.links(hub) == [secret, spoke] and avm.backlinks(hub) == [secret, spoke]
    assert avm.links(spoke) == [hub, spoke] and avm.backlinks(spoke) == [hub]
    hermes = avm.agent_memory("hermes")
    assert hermes.links(hub) == [spoke] and hermes.backlinks(hub) == [spoke]
    with pytest.raises(NotFoundError):
        hermes.backlinks(secret)
    on_disk(avm, spoke).write_text("no link any more\n")
    assert avm.backlinks(hub) == [secret] and avm.links(spoke) == []
    avm.remember("the other hub", title="hub", folder="deeper")
    assert avm.backlinks(hub) == [secret]


def test_lists_tags_stats_and_meta(avm: AVM) -> None:
    akashi = avm.agent_memory("akashi")
    rule = akashi.remember(
        "RSI > 70 → exit, see [[regime]] and [[nowhere]]. #risk/fx",
        title="rule", importance=0.9, tags=["Trading", "nvda"], folder="trading", ttl="30d",
    )  # fmt: skip
    regime = avm.remember("risk-off #trading", title="regime", namespace="market")
    avm.write("/notes/loose.md", "---\ncolour: [red, {a: 1}]\nimportance: much\n---\nloose\n")

    infos = {info.path: info for info in avm.memories()}
    assert list(infos) == sorted([rule.path, regime.path, "/notes/loose.md"])
    info = infos[rule.path]
    assert (info.title, info.importance, info.agent, info.pinned) == ("rule", 0.9, "akashi", False)
    assert info.expires is not None and info.expires.isoformat() == "2026-12-20T09:00:00+00:00"
    assert info.changed.isoformat() == "2026-11-20T09:00:00+00:00"
    assert info.size == len(avm.read_bytes(rule.path))
    assert [i.path for i in avm.memories("/memory/shared/")] == [regime.path]
    assert avm.memories("/memory/share") == []

    assert avm.tags() == {"trading": 2, "nvda": 1, "risk/fx": 1}
    assert list(avm.tags()) == ["trading", "nvda", "risk/fx"]
    assert avm.tags("memory/shared") == {"trading": 1}
    stats = avm.stats()
    assert (stats.memories, stats.tags) == (3, 3)
    assert stats.bytes == sum(len(avm.read_bytes(path)) for path in infos)
    assert stats.folders == {
        "/memory/private/akashi": 1, "/memory/shared/market": 1, "/notes": 1,
    }  # fmt: skip
    assert akashi.stats().memories == 2 and akashi.stats("/memory/shared").memories == 1

    meta = akashi.meta(rule.path)
    assert meta["links"] == [
        {"target": "nowhere", "path": None},
        {"target": "regime", "path": regime.path},
    ]
    assert meta["tags"] == ["nvda", "risk/fx", "trading"]
    assert (meta["created"], meta["expires"]) == (MOMENT, "2026-12-20T09:00:00Z")
    loose = avm.meta("/notes/loose.md")
    assert loose["other"] == {"colour": ["red", {"a": "1"}]}
    assert loose["title"] == "loose" and loose["importance"] is None
    assert loose["problems"] == ["importance 'much': not a number from 0.0 to 1.0"]


def test_links_resolve_by_path_name_and_alias_nearest_first(avm: AVM) -> None:
    for name in ("a/note", "a/b/note", "c/note"):
        avm.write(f"/memory/shared/{name}.md", "x")
    avm.write("/memory/shared/c/other.md", "---\naliases: [The Other]\n---\nx")
    for name in ("Case", "case"):
        avm.write(f"/memory/shared/d/{name}.md", "x")
    links = "[[note]] [[c/note]] [[memory/shared/a/note.md]] [[the other]] [[NOTE|shown]] [[gone]]"
    links += " [[memory/shared/d/Case]] [[memory/shared/d/case.md]]"
    avm.write("/memory/shared/a/b/from.md", links)
    found = {
        link["target"]: link["path"] for link in avm.meta("memory/shared/a/b/from.md")["links"]
    }
    assert found == {
        "note": "/memory/shared/a/b/note.md",
        "NOTE": "/memory/shared/a/b/note.md",
        "c/note": "/memory/shared/c/note.md",
        "memory/shared/a/note.md": "/memory/shared/a/note.md",
        "the other": "/memory/shared/c/other.md",
        "memory/shared/d/Case": "/memory/shared/d/Case.md",
        "memory/shared/d/case.md": "/memory/shared/d/case.md",
        "gone": None,
    }


@pytest.mark.parametrize(
    "front",
    [
        "expires: 2026-11-20T09:00:00Z",
        "expires: 2026-11-20",
        "created: 2026-11-01\nttl: 3d",
        'expires: "2026-11-20 10:00:00+02:00"',
    ],
)
def test_the_expired_is_absent_everywhere_and_still_on_disk(avm: AVM, front: str) -> None:
    path = "/memory/shared/old.md"
    raw = f"---\n{front}\naliases: [older]\ntags: [gone]\n---\nzebra [[here]]\n"
    on_disk(avm, path).write_text(raw)
    avm.write("/memory/shared/here.md", "giraffe [[old]] [[older]]")
    here = ["/memory/shared/here.md"]
    assert paths_of(avm.search("zebra giraffe")) == here
    assert "zebra [[" not in avm.recall("zebra") + avm.recall("")
    assert [i.path for i in avm.memories()] == here
    assert avm.tags() == {} and avm.stats().memories == 1
    assert [link["path"] for link in avm.meta(here[0])["links"]] == [None, None]
    assert not avm.exists(path)
    for call in (avm.read, avm.read_bytes, avm.meta, avm.forget):
        with pytest.raises(NotFoundError):
            call(path)
    assert on_disk(avm, path).read_text() == raw
    assert avm.status().expired == (path,)


@pytest.mark.parametrize("front", ["expires: 2026-11-20T09:00:01Z", "ttl: 1d", "expires: soon"])
def test_what_has_not_expired_is_there(avm: AVM, front: str) -> None:
    place = on_disk(avm, "/memory/shared/x.md")
    place.write_text(f"---\n{front}\n---\nzebra")
    stamp = avm.store.now() - 3600
    os.utime(place, (stamp, stamp))
    assert avm.exists("/memory/shared/x.md")
    assert paths_of(avm.search("zebra")) == ["/memory/shared/x.md"]


def test_the_superseded_is_out_of_answers_but_readable(avm: AVM) -> None:
    avm.write("/memory/shared/rule_2025.md", "stop at 8% zebra")
    avm.write("/memory/shared/rule.md", "---\nsupersedes: rule_2025\n---\nstop at 5% zebra")
    assert paths_of(avm.search("zebra")) == ["/memory/shared/rule.md"]
    assert "8%" not in avm.recall("zebra") + avm.recall("")
    assert avm.read("/memory/shared/rule_2025.md") == "stop at 8% zebra"
    assert len(avm.memories()) == 2
    avm.forget("/memory/shared/rule.md")
    assert paths_of(avm.search("zebra")) == ["/memory/shared/rule_2025.md"]


def test_strategies_order_and_never_bury_the_answer(avm: AVM) -> None:
    fronts = {
        "new": "created: 2026-11-19\nimportance: 0.1",
        "big": "created: 2025-01-01\nimportance: 1.0",
        "mid": "created: 2026-06-01\nimportance: 0.5",
    }
    for name, front in fronts.items():
        on_disk(avm, f"/memory/shared/{name}.md").write_text(f"---\n{front}\n---\nzebra {name}\n")

    def order(strategy: ScoringStrategy | str) -> list[str]:
        text = avm.recall("zebra", strategy=strategy)
        return re.findall(r"^- .*zebra (\w+)$", text, re.MULTILINE)

    assert order(ScoringStrategy.RECENCY) == order("recency") == ["new", "mid", "big"]
    assert order(ScoringStrategy.IMPORTANCE) == order("IMPORTANCE") == ["big", "mid", "new"]
    assert sorted(order(ScoringStrategy.BALANCED)) == ["big", "mid", "new"]
    avm.write("/memory/shared/pinned.md", "---\npinned: true\nimportance: 0.0\n---\nzebra pinned")
    assert re.findall(r"^- .*zebra (\w+)$", avm.recall(), re.MULTILINE)[0] == "pinned"


def test_search_limits_narrows_and_scores(avm: AVM) -> None:
    for n in range(5):
        avm.remember(f"zebra number {n}", title=f"n{n}", namespace="a" if n < 2 else "b")
    hits = avm.search("zebra number 3")
    assert hits[0].path == "/memory/shared/b/n3.md" and hits[0].score == 1.0
    assert hits[0].snippet == "zebra number 3" and hits[0].title == "n3" and hits[0].line == 5
    assert sorted(hits, key=lambda hit: -hit.score) == hits and len(hits) == 5
    assert len(avm.search("zebra", 2)) == 2
    assert {hit.path for hit in avm.search("zebra", folder="/memory/shared/a")} == {
        "/memory/shared/a/n0.md",
        "/memory/shared/a/n1.md",
    }
    assert avm.search("no such word anywhere") == []
    assert "Nothing found for 'xyzzy'." in avm.recall("xyzzy")


@pytest.mark.parametrize(
    "query",
    ['"', "AND OR NOT", "zebra*", "zebra NEAR(", "col:zebra", "-zebra", "x" * 5_000, "\0", "()"],
)
def test_no_question_is_syntax(avm: AVM, query: str) -> None:
    avm.remember("a zebra", title="z")
    assert isinstance(avm.search(query), list)
    assert avm.recall(query, 100) is not None


# Beside others


def test_eight_processes_remember_one_title_at_once(tmp_path: Path) -> None:
    AVM(tmp_path / "v").close()
    code = (
        "import sys; from avm import AVM\n"
        "a = AVM(sys.argv[1], semantic='off').agent_memory('akashi')\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(a.remember('text of ' + sys.argv[2], title='rule', namespace='new/folder'))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "v"), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(8)
    ]
    for run in runs:
        assert run.stdout and run.stdout.readline() == "ready\n"
    ends = []
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        ends.append((*run.communicate(timeout=60), run.returncode))
    assert [(err, code) for _, err, code in ends] == [("", 0)] * 8
    printed = sorted(out.strip() for out, _, _ in ends)
    names = ["rule.md", *(f"rule-{n}.md" for n in range(2, 9))]
    assert printed == sorted(f"/memory/shared/new/folder/{name}" for name in names)
    with AVM(tmp_path / "v", semantic="off") as avm:
        texts = {avm.read(path).splitlines()[-1] for path in printed}
        assert texts == {f"text of {n}" for n in range(8)}
        assert len(avm.memories()) == 8
    assert git(tmp_path / "v", "status", "--porcelain") == ""
    logged = git(tmp_path / "v", "log", "--format=%an", "--", "memory/shared/new")
    assert set(logged.splitlines()) == {"akashi"}


def test_threads_share_one_avm(avm: AVM) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            agent = avm.agent_memory(f"agent{number % 3}")
            for round_ in range(8):
                done = agent.remember(f"zebra{number}x{round_}", title="same", namespace="s")
                assert [h.path for h in agent.search(f"zebra{number}x{round_}")] == [done.path]
                assert done.path in {info.path for info in agent.memories()}
                agent.recall("zebra", 200)
        except BaseException as err:  # noqa: BLE001  (told to the main thread)
            failures.append(err)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(avm.memories()) == 48


def test_reading_changes_nothing_in_the_work_tree(avm: AVM) -> None:
    avm.remember("zebra [[other]] #tag", title="rule", ttl="30d")
    avm.write("/memory/shared/odd.md", b"---\ntags: [\n---\nbroken \xff")
    avm.commit()
    root = avm.store.vault.root

    def state() -> list[tuple[str, int, int, int]]:
        found = []
        for place in sorted(root.rglob("*")):
            if ".git" not in place.relative_to(root).parts:
                status = place.lstat()
                found.append((str(place), status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
        return found

    before, head = state(), git(root, "rev-parse", "HEAD")
    akashi = avm.agent_memory("akashi")
    for view in (avm, akashi):
        view.search("zebra"), view.recall("zebra"), view.recall(), view.memories(), view.tags()
        view.stats(), view.meta("/memory/shared/rule.md"), view.exists("/memory/shared/no.md")
        view.read("/memory/shared/odd.md")
    avm.status(), avm.index()
    assert state() == before
    assert git(root, "rev-parse", "HEAD") == head
    assert git(root, "status", "--porcelain") == ""


def test_a_name_that_is_not_utf8_holds_up_nobody(avm: AVM) -> None:
    """A tar of old files can bring one: no memory, not committed, named by status."""
    odd = os.fsencode(on_disk(avm, "/memory/shared")) + b"/\xff.md"
    with open(odd, "wb") as file:
        file.write(b"---\nttl: 1d\n---\nzebra")
    avm.remember("giraffe", title="fine")
    assert [info.path for info in avm.memories()] == ["/memory/shared/fine.md"]
    report = avm.commit()
    assert len(report.commits) == 1
    assert [name.encode("utf-8", "surrogateescape") for name in report.waiting] == [
        b"memory/shared/\xff.md"
    ]
    with pytest.raises(NotFoundError):
        avm.meta("/memory/shared/\udcff.md")
    assert avm.read("/memory/shared/\udcff.md").endswith("zebra")
    assert any("not UTF-8" in problem for _, problem in avm.status().unreadable)


# Ends


def test_close_commits_and_the_end_of_a_process_too(tmp_path: Path) -> None:
    code = (
        "from avm import AVM\n"
        "AVM('v', semantic='off').agent_memory('akashi').remember('x', title='left open')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert git(tmp_path / "v", "log", "-1", "--format=%an %s") == "akashi remember: left open"
    with AVM(tmp_path / "v", semantic="off") as avm:
        avm.agent_memory("hermes").remember("y", title="closed")
    assert git(tmp_path / "v", "log", "-1", "--format=%an %s") == "hermes remember: closed"
    avm.close()  # again: nothing happens


def test_commit_takes_everybody_s(avm: AVM) -> None:
    avm.agent_memory("akashi").remember("x", title="a")
    on_disk(avm, "/memory/shared/mine.md").write_text("typed in an editor")
    assert set(avm.status().waiting) == {"/memory/private/akashi/a.md", "/memory/shared/mine.md"}
    report = avm.commit("Notes of today")
    assert len(report.commits) == 2 and report.waiting == {} and report.blocked is None
    log = git(avm.store.vault.root, "log", "-2", "--format=%an: %s").splitlines()
    assert sorted(log) == ["Pat Person: Notes of today", "akashi: Notes of today"]
    assert avm.status().waiting == {}


def test_the_command_line_sees_what_python_wrote_and_back(avm: AVM) -> None:
    done = avm.remember("zebra from python", title="p")
    vault = str(avm.store.vault.root)
    assert done.path in run_avm("search", "zebra", "--vault", vault).stdout
    assert run_avm("remember", "--vault", vault, "--title", "c", "zebra by command").returncode == 0
    assert set(paths_of(avm.search("zebra"))) == {"/memory/shared/p.md", "/memory/shared/c.md"}


def test_representations_name_vault_and_agent(avm: AVM) -> None:
    assert repr(avm) == f"AVM({str(avm.store.vault.root)!r})"
    assert repr(avm.agent_memory("akashi")).startswith("AgentMemory('akashi', vault=")
    assert avm.agent_memory("akashi").agent == "akashi"
