"""CJK pairs, parts of identifiers, NFKC: as the full text finds them."""

from __future__ import annotations

import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.index.words import (
    _IDENTIFIER_FORM,
    cjk_column,
    cjk_runs,
    identifier_parts,
    identifiers,
    normal,
    parts_column,
)

cjk = st.text(st.sampled_from("记忆力日本語メモリーｶﾞ기억々"), min_size=1, max_size=6)


def test_pairs() -> None:
    assert cjk_column("我的记忆").split() == ["我的", "的记", "记忆", "忆"]
    assert cjk_column("メモリー、기억").split() == ["メモ", "モリ", "リー", "ー", "기억", "억"]
    assert cjk_column("ﾒﾓﾘ") == cjk_column("メモリ")
    assert cjk_column("plain é") == ""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("getUserName plain", "get User Name"),
        ("HTTPServer2", "HTTP Server 2"),
        ("v1.2.3", "v 1 2 3"),
        ("snake_case avm/index/text.py foo-bar x::y e.g. 12.5", ""),
        ("myFile.test_case", "my File test case"),
        ("a1b2c3d4e5f6a7b8c9d0", ""),
        ("ＡＢＣ", "abc"),
        ("straße", "strasse"),
        ("ﬁle", "file"),
        ("café 记忆", ""),
    ],
)
def test_parts(text: str, parts: str) -> None:
    assert parts_column(text) == parts


@given(cjk)
def test_each_character_and_each_pair_is_found(run: str) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5 (x, tokenize = 'porter unicode61')")
        connection.execute("INSERT INTO t VALUES (?)", (cjk_column(f"a {run} b"),))
        for found in cjk_runs(normal(run)):
            for size in (1, 2):
                for at in range(len(found) - size + 1):
                    asked = f'"{found[at : at + size]}" *'
                    assert connection.execute(
                        "SELECT 1 FROM t WHERE t MATCH ?", (asked,)
                    ).fetchone()
    connection.close()


@given(st.text(max_size=80))
def test_any_text_has_columns(text: str) -> None:
    assert isinstance(cjk_column(text) + parts_column(text), str)
    assert all(identifier_parts(text))


@given(st.text(alphabet=st.sampled_from("abAB12_.-/:\\ é記v"), max_size=30))
def test_looking_for_mixed_words_first_loses_none(text: str) -> None:
    """Identifiers are found by a costly pattern, which is tried only where it can match."""
    found = dict.fromkeys(re.findall(_IDENTIFIER_FORM, text, re.ASCII))
    assert identifiers(text) == [p for name in found for p in identifier_parts(name)]


@given(st.text(st.sampled_from("abcXYZ019é_É"), max_size=6))
def test_a_word_has_the_same_parts_alone_and_in_a_text(word: str) -> None:
    assert identifiers(word) == identifiers(f"{word} .")
