"""What has changed since it was last asked: lines, marks, and whose they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_avm

from avm import AVM
from avm.api import View
from avm.base.errors import NotFoundError
from avm.overlay import virtual

MOMENT = "2026-11-20T09:00:00Z"
NOTHING_YET = "Nothing new yet.\n"
NOTHING = f"Nothing new since {MOMENT}.\n"


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """A new vault as its owner sees it, on a day that stands still."""
    monkeypatch.setenv("AVM_CLOCK", MOMENT)
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened


def put(avm: AVM, name: str, text: str | bytes) -> Path:
    """Write `memory/NAME` as an editor does."""
    place = avm.store.vault.path(f"memory/{name}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode() if isinstance(text, str) else text)
    return place


def test_each_kind_of_change_is_a_line(avm: AVM) -> None:
    assert avm.delta() == NOTHING_YET
    places = {name: put(avm, f"shared/{name}.md", f"{name}\n") for name in "abcd"}
    put(avm, "shared/e.md", "---\ntitle: The title\n---\ne\n")
    assert avm.delta() == (
        "+ /memory/shared/a.md  a\n+ /memory/shared/b.md  b\n+ /memory/shared/c.md  c\n"
        "+ /memory/shared/d.md  d\n+ /memory/shared/e.md  The title\n"
    )
    assert avm.delta() == NOTHING
    places["a"].write_text("changed\n")
    places["b"].unlink()
    (avm.store.vault.root / "memory/shared/deep").mkdir()
    places["c"].rename(avm.store.vault.root / "memory/shared/deep/moved.md")
    put(avm, "shared/new.md", "new\n")
    assert avm.delta() == (
        "~ /memory/shared/a.md  a\n"
        "> /memory/shared/deep/moved.md  from /memory/shared/c.md\n"
        "+ /memory/shared/new.md  new\n"
        "- /memory/shared/b.md\n"
    )
    assert avm.delta() == NOTHING


def test_the_same_text_twice_moves_each_once(avm: AVM) -> None:
    first, second = put(avm, "shared/a.md", "same\n"), put(avm, "shared/b.md", "same\n")
    avm.delta()
    first.rename(first.with_name("x.md"))
    assert avm.delta() == "> /memory/shared/x.md  from /memory/shared/a.md\n"
    put(avm, "shared/copy.md", "same\n")
    second.unlink()
    first.with_name("x.md").unlink()
    assert avm.delta() == (
        "> /memory/shared/copy.md  from /memory/shared/x.md\n- /memory/shared/b.md\n"
    )


def test_what_was_put_back_is_no_news(avm: AVM) -> None:
    place = put(avm, "shared/a.md", "one\n")
    avm.delta()
    place.write_text("two\n")
    place.write_text("one\n")
    os.utime(place, (1, 1))
    assert avm.delta() == NOTHING


def test_a_peek_leaves_the_mark(avm: AVM) -> None:
    put(avm, "shared/a.md", "one\n")
    told = "+ /memory/shared/a.md  a\n"
    assert avm.delta(peek=True) == avm.delta(peek=True) == told
    assert not (avm.store.vault.own_state / "delta").exists()
    assert avm.delta() == told
    put(avm, "shared/a.md", "two\n")
    assert avm.delta(peek=True) == avm.delta() == "~ /memory/shared/a.md  a\n"
    assert avm.delta(peek=True) == NOTHING


def test_news_are_marked_as_they_were_told(avm: AVM) -> None:
    """What comes between the telling and the mark is told the next time."""
    put(avm, "shared/a.md", "one\n")
    news = avm.news()
    put(avm, "shared/b.md", "late\n")
    news.mark()
    assert avm.delta() == "+ /memory/shared/b.md  b\n"


def test_marks_are_a_viewer_s_own_and_a_folder_s_own(avm: AVM) -> None:
    put(avm, "shared/a.md", "one\n")
    put(avm, "shared/deep/b.md", "two\n")
    views: list[View] = [avm, avm.agent_memory("akashi"), avm.agent_memory("hermes")]
    every = "+ /memory/shared/a.md  a\n+ /memory/shared/deep/b.md  b\n"
    assert [view.delta("memory/shared") for view in views] == [every] * 3
    assert [view.delta("memory/shared") for view in views] == [NOTHING] * 3
    for view in views:
        assert view.delta() == every
        assert view.delta("memory/shared/deep") == "+ /memory/shared/deep/b.md  b\n"
        assert view.delta("memory/shared/deep/b.md").endswith("@@ -0,0 +1 @@\n+two\n")
    assert len(list((avm.store.vault.own_state / "delta").iterdir())) == 12
    put(avm, "shared/deep/b.md", "three\n")
    for path in ("", "/memory/shared", "memory/shared/deep"):
        assert avm.delta(path) == "~ /memory/shared/deep/b.md  b\n"
        assert avm.delta(path) == NOTHING


def test_marks_outlive_the_process_and_the_index(avm: AVM) -> None:
    put(avm, "shared/a.md", "one\n")
    put(avm, "shared/b.md", "one more\n")
    avm.delta()
    root = avm.store.vault.root
    avm.index(rebuild=True)
    assert avm.delta(peek=True) == NOTHING
    avm.close()
    shutil.rmtree(avm.store.vault.index_dir)
    put(avm, "shared/b.md", "changed\n")
    with AVM(root, semantic="off") as again:
        assert again.delta() == "~ /memory/shared/b.md  b\n"


def test_a_damaged_mark_is_none(avm: AVM) -> None:
    put(avm, "shared/a.md", "one\n")
    avm.delta()
    (mark,) = (avm.store.vault.own_state / "delta").iterdir()
    for damaged in (b"", b"{", b"[]", b"{}", mark.read_bytes()[:-10]):
        mark.write_bytes(damaged)
        assert avm.delta() == "+ /memory/shared/a.md  a\n"


def test_what_a_viewer_may_not_see_is_in_no_delta(avm: AVM) -> None:
    put(avm, "private/hermes/secret.md", "walrus\n")
    put(avm, "private/akashi/mine.md", "mine\n")
    put(avm, "loose.md", "the owner's\n")
    akashi = avm.agent_memory("akashi")
    assert akashi.delta() == "+ /memory/private/akashi/mine.md  mine\n"
    for path in (
        "memory/private/hermes", "memory/private/nosuch", "memory/private/hermes/deep", "notes",
    ):  # fmt: skip
        avm.store.vault.path("memory/private/hermes/deep").mkdir(exist_ok=True)
        with pytest.raises(NotFoundError, match=f"no memory at /{path}"):
            akashi.delta(path)
    for path in ("memory/private/hermes/secret.md", "memory/loose.md", "memory/nosuch.md"):
        with pytest.raises(NotFoundError, match=f"no memory at /{path}"):
            akashi.delta(path)
    put(avm, "private/akashi/mine.md", "walrus\n").rename(
        avm.store.vault.path("memory/private/hermes/moved.md")
    )
    assert akashi.delta() == "- /memory/private/akashi/mine.md\n"


def test_a_memory_that_expires_goes_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_CLOCK", MOMENT)
    with AVM(tmp_path / "v", semantic="off") as avm:
        avm.remember("one", title="rule", ttl="1h")
        assert avm.delta() == "+ /memory/shared/rule.md  rule\n"
        assert avm.delta("memory/shared/rule.md").endswith("+one\n")
    monkeypatch.setenv("AVM_CLOCK", "2026-11-21T09:00:00Z")
    with AVM(tmp_path / "v", semantic="off") as avm:
        assert avm.delta() == "- /memory/shared/rule.md\n"
        assert avm.delta() == "Nothing new since 2026-11-21T09:00:00Z.\n"
        with pytest.raises(NotFoundError):
            avm.delta("memory/shared/rule.md")
        avm.restore("memory/shared/rule.md")
        assert avm.delta() == "+ /memory/shared/rule.md  rule\n"


# One memory


def test_a_memory_s_delta_is_a_unified_diff(avm: AVM) -> None:
    place = put(avm, "shared/a.md", "one\ntwo\nthree\n")
    path = "memory/shared/a.md"
    assert avm.delta(path) == (
        "--- /dev/null\n+++ /memory/shared/a.md now\n@@ -0,0 +1,3 @@\n+one\n+two\n+three\n"
    )
    assert avm.delta(path) == NOTHING
    place.write_text("one\n2\nthree\nfour")
    assert (
        avm.delta(path, peek=True)
        == avm.delta(path)
        == (
            f"--- /memory/shared/a.md {MOMENT}\n+++ /memory/shared/a.md now\n"
            "@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n"
        )
    )
    place.write_text("one\n2\nthree\nfour\n")
    assert avm.delta(path).endswith(
        "@@ -1,4 +1,4 @@\n one\n 2\n three\n-four\n\\ No newline at end of file\n+four\n"
    )
    assert avm.delta() == "+ /memory/shared/a.md  a\n"


@pytest.mark.parametrize(
    "text",
    [b"a\r\nb\rc\x0bd\x0c\xe2\x80\xa8e\x85f\n", b"\xff\xfe\x00\n", b"", b"\n\n", "日本\n".encode()],
)
def test_any_bytes_have_a_delta(avm: AVM, text: bytes) -> None:
    place = put(avm, "shared/a.md", text)
    first = virtual.read(avm, "memory/shared/a.md:delta").data
    added = b"".join(b"+" + line + b"\n" for line in text.split(b"\n")[:-1])
    assert first.endswith(added) and (added or first == NOTHING_YET.encode())
    avm.delta("memory/shared/a.md")
    assert avm.delta("memory/shared/a.md") == NOTHING
    place.write_bytes(text + b"more\n")
    told = virtual.read(avm, "memory/shared/a.md:delta").data
    assert told.endswith(b"+more\n") and told.count(b"\n+") == 2


# Many, and where


def test_many(avm: AVM) -> None:
    for number in range(600):
        put(avm, f"shared/{number % 7}/m{number:04}.md", f"text {number}\n")
    assert avm.delta().count("\n+ ") == 599
    for number in range(0, 600, 3):
        put(avm, f"shared/{number % 7}/m{number:04}.md", f"changed {number}\n")
    told = avm.delta().splitlines()
    assert len(told) == 200 and all(line.startswith("~ ") for line in told)
    assert told == sorted(told)


def test_a_folder_that_only_looks_real_has_no_news(avm: AVM) -> None:
    akashi = avm.agent_memory("akashi")
    for view, folder in (
        (avm, "memory/private/newcomer"), (akashi, "memory/private/akashi"),
        (akashi, "memory/private"), (avm, ""),
    ):  # fmt: skip
        name = f"{folder}/:delta" if folder else ":delta"
        assert virtual.read(view, name).data.decode() == NOTHING_YET
        assert view.delta(folder) == NOTHING_YET
    for view, folder in ((avm, "nosuch"), (akashi, "memory/private/hermes"), (akashi, ".git")):
        with pytest.raises(NotFoundError):
            virtual.read(view, f"{folder}/:delta")
    with pytest.raises(NotFoundError):
        avm.delta("memory/nosuch")


def test_cat_tells_news_once(avm: AVM) -> None:
    put(avm, "shared/a.md", "one\n")
    root = str(avm.store.vault.root)

    def cat(*names: str) -> str:
        done = run_avm("--vault", root, "cat", *names)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    told = "+ /memory/shared/a.md  a\n"
    assert cat(":delta?peek=1") == told
    assert cat(":delta", ":delta") == told + NOTHING
    assert cat("memory/shared/:delta:peek=0") == told
    assert cat("memory/shared/a.md:delta").endswith("+one\n")
    assert cat("memory/shared/a.md:delta?peek=1") == NOTHING
    done = run_avm("--vault", root, "cat", ":delta?peek=x")
    assert (done.returncode, done.stderr) == (2, "avm: peek 'x': use 1, or 0\n")
