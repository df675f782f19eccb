"""What `remember` does where a memory says nearly the same, in real vaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vault_helpers import assert_well

from avm import AVM
from avm.base.errors import UsageError

STANDUP = "The daily stand-up is at {} UTC in the ops channel, in winter too"
RULE = "RSI > 70 on NVDA means that half of a long position is sold at the next open"


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    monkeypatch.setenv("AVM_CLOCK", "2026-11-20T09:00:00Z")
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened
        assert_well(opened)


def count(avm: AVM) -> int:
    return len(avm.memories())


# skip


def test_what_says_the_same_is_not_written_again(avm: AVM) -> None:
    akashi = avm.agent_memory("akashi")
    first = akashi.remember(RULE, title="rule", importance=0.9)
    for text in (RULE, f"**{RULE}**.\n", f"# {RULE.upper()}"):
        again = akashi.remember(text, title="another", on_duplicate="skip")
        assert again.path == first.path
        assert again.hints == (f"already remembered: {first.path}",)
    assert count(avm) == 1


def test_another_number_is_another_memory(avm: AVM) -> None:
    avm.remember(RULE)
    other = avm.remember(RULE.replace("70", "80"), on_duplicate="skip")
    assert other.hints == () and count(avm) == 2


def test_a_duplicate_by_an_editor_a_moment_ago_is_seen(avm: AVM) -> None:
    place = avm.store.vault.root / "memory/shared/by hand.md"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"# {RULE}\n")
    assert avm.remember(RULE, on_duplicate="skip").path == "/memory/shared/by hand.md"


def test_only_the_place_is_looked_at_where_it_would_be_written(avm: AVM) -> None:
    below = avm.remember(RULE, namespace="market", folder="us").path
    assert avm.remember(RULE, namespace="market", on_duplicate="skip").path == below
    other = avm.remember(RULE, namespace="ops", on_duplicate="skip")
    assert other.path.startswith("/memory/shared/ops/")


@pytest.mark.parametrize("doing", ["skip", "supersede"])
def test_nobody_s_private_duplicates_are_found_by_another(avm: AVM, doing: str) -> None:
    akashi, hermes = avm.agent_memory("akashi"), avm.agent_memory("hermes")
    akashi.remember(RULE, title="rule")
    avm.write("/memory/shared/market/mine.md", "something else")
    for place in ({}, {"namespace": "market"}):
        done = hermes.remember(RULE, title="rule", on_duplicate=doing, **place)  # type: ignore[arg-type]
        assert done.hints == () and "akashi" not in done.path
        assert "supersedes" not in hermes.read(done.path)


def test_what_has_expired_or_gave_way_is_no_duplicate(avm: AVM) -> None:
    avm.write("/memory/shared/old.md", f"---\nexpires: 2026-11-19\n---\n{RULE}\n")
    avm.write("/memory/shared/older.md", f"{RULE}\n")
    avm.write("/memory/shared/newer.md", "---\nsupersedes: older\n---\nSell nothing on RSI\n")
    done = avm.remember(RULE, on_duplicate="skip")
    assert done.hints == ()
    assert avm.search("RSI position half")[0].path == done.path


# supersede


def test_a_version_takes_the_place_of_the_old_one(avm: AVM) -> None:
    akashi = avm.agent_memory("akashi")
    old = akashi.remember(STANDUP.format("09:30")).path
    new = akashi.remember(STANDUP.format("10:00"), on_duplicate="supersede")
    assert new.hints == (f"it supersedes {old}",)
    assert akashi.meta(new.path)["supersedes"] == [old[1:]]
    assert akashi.exists(old)
    assert [hit.path for hit in akashi.search("stand-up")] == [new.path]
    assert "09:30" not in akashi.recall("stand-up")


def test_the_same_title_is_a_version_whatever_it_says(avm: AVM) -> None:
    old = avm.remember("Sell at once", title="NVDA: rule").path
    avm.remember("Sell at once, elsewhere", title="NVDA: rule", namespace="market")
    for text in ("Hold for a week", "Buy twice as much", "Sell at once"):
        new = avm.remember(text, title="nvda: Rule", on_duplicate="supersede")
        assert new.path != old and new.hints == (f"it supersedes {old}",)
        old = new.path
    elsewhere = "/memory/shared/market/NVDA- rule.md"
    assert {hit.path for hit in avm.search("hold buy sell")} == {old, elsewhere}
    assert "Hold" not in avm.recall("hold buy sell")


def test_the_same_text_is_not_written_again(avm: AVM) -> None:
    old = avm.remember(RULE, title="rule").path
    for title in ("rule", "another", None):
        again = avm.remember(f"{RULE}\n", title=title, on_duplicate="supersede")
        assert (again.path, again.hints) == (old, (f"already remembered: {old}",))
    assert count(avm) == 1


def test_nearly_the_same_text_supersedes(avm: AVM) -> None:
    old = avm.remember(RULE).path
    new = avm.remember(f"{RULE}!", on_duplicate="supersede")
    assert new.path != old and new.hints == (f"it supersedes {old}",)
    assert [hit.path for hit in avm.search("NVDA")] == [new.path]


def test_what_is_new_supersedes_nothing(avm: AVM) -> None:
    avm.remember("Mika leads the Tidegate project")
    new = avm.remember("Mika leads the Lantern project", on_duplicate="supersede")
    assert new.hints == () and "supersedes" not in avm.read(new.path)


# keep, and whatever is not one of the three


def test_by_default_nothing_is_looked_up(tmp_path: Path) -> None:
    with AVM(tmp_path / "vault", semantic="off") as avm:
        for _ in range(2):
            avm.remember(RULE, title="one")
        assert avm.remember(RULE, title="two").hints == ()
        # Not even opened: no index was made.
        assert not avm.store.vault.index_dir.exists()
        avm.remember(RULE, title="three", on_duplicate="skip")
        assert avm.store.vault.index_dir.exists()


def test_the_configuration_says_it_for_all_and_the_argument_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_ON_DUPLICATE", "skip")
    with AVM(tmp_path / "vault", semantic="off") as avm:
        first = avm.remember(RULE, title="one")
        assert avm.remember(RULE, title="two").path == first.path
        assert avm.remember(RULE, title="two", on_duplicate="keep").path != first.path


@pytest.mark.parametrize("value", ["ignore", "", 1, "Skip"])
def test_a_bad_value_is_named(avm: AVM, value: object) -> None:
    with pytest.raises(UsageError, match="use one of keep, skip, supersede"):
        avm.remember("text", on_duplicate=value)  # type: ignore[arg-type]
    assert not list((avm.store.vault.root / "memory").rglob("text.md"))


@pytest.mark.parametrize("text", ["→ !!!", "the of and", "a" * 3000, "日", "\0 \udc80"])
def test_odd_texts(avm: AVM, text: str) -> None:
    first = avm.remember(text, on_duplicate="skip")
    assert avm.remember(text, title="again", on_duplicate="skip").path in (
        first.path,
        "/memory/shared/again.md",
    )
