"""How alike texts are by their words: what is the same, what a version, what neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.recall.similarity import adds_nothing, is_version, resemblance, says_the_same

texts = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["a", "b.", "**c**", "记忆", "70", "not", "→", "%", "ß"]), max_size=12
    ).map(" ".join),
)
STANDUP = "The daily stand-up is at {} UTC in the ops channel, in winter too"


@given(texts, texts)
def test_it_is_symmetric_and_a_share(a: str, b: str) -> None:
    assert resemblance(a, b) == resemblance(b, a)
    assert says_the_same(a, b) == says_the_same(b, a)
    assert 0.0 <= resemblance(a, b) <= 1.0


@given(texts)
def test_a_text_is_like_itself(text: str) -> None:
    assert resemblance(text, text) == 1.0
    assert says_the_same(text, text)


@given(texts, texts)
def test_a_word_more_is_less(a: str, b: str) -> None:
    assert resemblance(f"{a} xyzzy", b) < 1.0
    assert resemblance(a, f"{a} xyzzy") < 1.0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("RSI > 70 on NVDA means exit", "**RSI > 70** on `NVDA` means _exit_."),
        ("RSI > 70 → exit", "> - RSI > 70 -> exit\n"),
        ("# Deploy\n\nOnly from main", "Deploy:\nonly from Main!"),
        ("Die Straße ist glatt", "die STRASSE ist glatt"),
        ("ＦＵＬＬ ﾒﾓﾘ", "full メモリ"),
        ("don't ship on Friday", "Don’t ship on Friday."),
        ("我们每周五下午三点开会", "我们每周五下午三点开会。"),
        (
            "The broker answers 429 above ten orders a second: wait one second, then try again, but"
            " never more than five times in a row",
            "The broker answers 429 above ten orders a second. Wait one second, then try again, but"
            " really never more than five times in a row!",
        ),
    ],
)
def test_what_says_the_same(a: str, b: str) -> None:
    assert says_the_same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("RSI > 70 → exit", "RSI > 80 → exit"),
        ("RSI > 70 → exit", "RSI < 70 → exit"),
        ("loses 12% in five days", "loses -12% in five days"),
        ("version 1.5 is out", "version 15 is out"),
        ("x != 5 stops", "x == 5 stops"),
        ("deploy ✅", "deploy ❌"),
        ("Mika leads Tidegate, Priya leads Lantern", "Priya leads Tidegate, Mika leads Lantern"),
        ("Ask Tomas before you rotate the keys", "Ask Priya before you rotate the keys"),
        ("!!!", "???"),
        ("", "word"),
    ],
)
def test_what_does_not(a: str, b: str) -> None:
    assert not says_the_same(a, b)


@pytest.mark.parametrize(
    ("one", "other"),
    [("70", "71"), ("70", "-70"), ("> 70", "< 70"), ("do", "do not"), ("会", "不会"), ("$5", "€5")],
)
def test_one_sign_in_a_long_text_is_enough(one: str, other: str) -> None:
    long = " ".join(f"word{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]}" for n in range(100))
    a, b = f"{long} {one} {long}", f"{long} {other} {long}"
    assert resemblance(a, b) > 0.95
    assert not says_the_same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (STANDUP.format("09:30"), STANDUP.format("10:00")),
        (
            "Use Postgres 15 for quotes, with 3 backups",
            "Use Postgres 16 for quotes, with 4 backups",
        ),
        ("我们每周五下午三点开会", "我们每周五下午四点开会"),
        ("We must deploy on Fridays", "We must not deploy on Fridays"),
        ("RSI > 70 on NVDA: exit", "RSI < 65 on NVDA: exit"),
    ],
)
def test_what_is_a_version(a: str, b: str) -> None:
    assert is_version(a, b) and is_version(b, a)
    assert not says_the_same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Mika leads the Tidegate project", "Mika leads the Lantern project"),
        ("Jun is on call from 23:00 to 07:00 UTC", "Priya is on call from 07:00 to 15:00 UTC"),
        (
            "CI caches are keyed by branch, which makes first builds slow",
            "The CI cache is keyed by the lock file now, not by branch",
        ),
        ("我们每周五下午三点开会", "我们不在周五部署新版本"),
        (
            "The staging database password rotates every Monday",
            "The production database password rotates every Monday",
        ),
        ("Alice prefers tea in the morning.", "Bob prefers tea in the morning."),
    ],
)
def test_what_is_neither(a: str, b: str) -> None:
    assert not is_version(a, b)


def test_what_adds_a_sentence_to_a_long_text_is_no_duplicate() -> None:
    long = " ".join(f"word{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]}" for n in range(100))
    assert adds_nothing(f"*{long}*", long) and adds_nothing(long, f"{long} the")
    assert not adds_nothing(f"{long} Akashi owns it.", long)
    assert says_the_same(f"{long} it is enabled", f"{long} it is disabled")
    assert not adds_nothing(f"{long} it is enabled", f"{long} it is disabled")
