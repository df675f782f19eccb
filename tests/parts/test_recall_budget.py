"""A recall never costs more than its budget, counted by the real o200k encoding."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avm import AVM
from avm.base.errors import ConfigError
from avm.index.fulltext import TextHit
from avm.index.index import MemoryRow
from avm.recall.candidates import Scored
from avm.recall.exact_tokens import exact_counter
from avm.recall.packing import FORMATS, pack
from avm.recall.pieces import Piece
from avm.recall.scoring import Relevance
from avm.recall.tokens import count_tokens

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # how the package reads its own data
    import bpe_openai

ENCODING = bpe_openai.get_encoding("o200k_base")


def real_tokens(text: str) -> int:
    """Tokens as OpenAI counts them."""
    return len(ENCODING.encode_ordinary(text))


texts = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(
            ["the", "risk", "of", "NVDA", "````", "记忆", "メモリ", "def", "f():", "🙂", "\n\n"]
        )
    ).map(" ".join),
    st.text(st.characters(codec="utf-8"), max_size=200),
)


def piece(number: int, path: str, text: str, line: int = 1, changed: float = 1.7e9) -> Piece:
    """One that ranks by its number."""
    memory = MemoryRow(number, path, "t", None, changed, None, 0, None, 9)
    hit = TextHit(number, 1.0, number, 0)
    scored = Scored(number, path, 0, hit, None, Relevance(1.0), 1.0, None, 0)
    return Piece(number, path, line, line + text.count("\n"), text, memory, scored)


@given(
    st.lists(st.tuples(texts, texts, st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(1, 800),
    st.sampled_from(FORMATS),
    st.sampled_from([count_tokens, real_tokens]),
)
def test_packing_keeps_to_any_budget(
    notes: list[tuple[str, str, int]], budget: int, format: str, count: Callable[[str], int]
) -> None:
    found = [
        piece(n, f"memory/shared/{name or 'x'}.md", text, line)
        for n, (name, text, line) in enumerate(notes)
    ]
    packed = pack(found, budget, "text", str(len(found)), format, count)
    assert real_tokens(packed.text) <= packed.tokens <= budget


def test_a_larger_budget_does_not_say_less_because_something_is_there_twice() -> None:
    long = " ".join(f"alpha{n} beta gamma" for n in range(60))
    for text, other in ((long, ""), ("one two three four five", "six seven eight nine")):
        found = [piece(0, "memory/x/one.md", text, changed=1.8e9)]
        found += [piece(1, "memory/x/other.md", other)] if other else []
        found.append(piece(2, "memory/y/two.md", text))
        counts = [pack(found, budget, "text", "3").passages for budget in range(30, 400)]
        assert counts == sorted(counts) and counts[-1] == 1 + bool(other)


def test_a_name_of_backticks_leaves_room_for_its_fence() -> None:
    first = piece(0, f"a/{'`' * 12}.md", "words that are asked for " * 16)
    for budget in range(80, 200, 5):
        packed = pack([first], budget, "text", "1")
        assert packed.passages == 1 and real_tokens(packed.text) <= budget


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_left_of_a_budget_is_filled(format: str) -> None:
    """Each fifth piece is long: where it does not fit, a short one does."""
    found = [
        piece(n, f"memory/shared/{n}.md", " ".join([f"zebra{n}"] * (40 if n % 5 == 0 else 4)))
        for n in range(60)
    ]
    short = real_tokens(f"- 59.md#L1 {found[59].text}\n")
    for budget in range(100, 700, 3):
        packed = pack(found, budget, "text", "60", format)
        assert budget - packed.tokens < short + 8, budget  # the header may need some yet


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_no_text_or_name_stands_where_an_answer_s_own_lines_do(
    notes: list[tuple[str, str]],
) -> None:
    found = [piece(n, f"memory/{name or 'x'}.md", text) for n, (name, text) in enumerate(notes)]
    packed = pack(found, 10_000, "text", str(len(found)))
    if not packed.passages:
        return
    _, fence, *body, end, after = packed.text.split("\n")
    assert fence == end and set(fence) == {"`"} and not after
    assert not any(line.strip() == fence or fence in line for line in body)
    own = [line for line in body if line and not line.startswith("  ")]
    items = [line for line in own if line.startswith("- ")]
    assert 1 <= len(items) <= packed.passages
    assert all(re.search(r" \d{4}-\d\d-\d\d$|^\d{4}-\d\d-\d\d$", x) for x in set(own) - set(items))


def test_what_follows_one_another_in_a_file_is_one_passage() -> None:
    found = [piece(0, "memory/a.md", "last", 7), piece(1, "memory/a.md", "first\nsecond", 4)]
    text = pack(found, 500, "text", "1").text
    assert "memory/a.md#L4-7 2023-11-14\n- first\n  second\n\n  last\n" in text


def test_files_of_a_folder_share_its_line_and_passages_of_a_file_its_name() -> None:
    found = [
        piece(0, "memory/s/x/a.md", "one", 9),
        piece(1, "memory/s/y.md", "alone", 2),
        piece(2, "memory/s/x/b.md", "two"),
        piece(3, "memory/s/x/a.md", "zero", 1),
        piece(4, "memory/s/x/c.md", "later", 1, changed=1.8e9),
    ]
    assert pack(found, 500, "text", "9").text.split("\n", 1)[1] == (
        "```\n"
        "x/ 2023-11-14\n- a.md#L1 zero\n- #L9 one\n- b.md#L1 two\n2027-01-15\n- c.md#L1 later\n"
        "y.md#L2 2023-11-14\n- alone\n"
        "```\n"
    )


def test_the_same_is_said_once_and_by_the_newest() -> None:
    found = [
        piece(0, "memory/a.md", "The limit is 5."),
        piece(1, "memory/b.md", "the  limit is 5.", changed=1.8e9),
        piece(2, "memory/c.md", "The limit is 6."),
        piece(3, "memory/d.md", "**The limit is 5**"),
        piece(4, "memory/e.md", "The limit is not 5."),
    ]
    packed = pack(found, 500, "text", "5")
    assert re.findall(r"(\w).md#", packed.text) == ["b", "c", "e"]
    assert "2 duplicates left out" in packed.text


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AVM]:
    """A vault of English, code, Chinese, and hostile text."""
    folder = tmp_path_factory.mktemp("budget") / "vault"
    with AVM(folder, semantic="off") as avm:
        for n, text in enumerate(
            [
                "NVDA risk is high. " * 40,
                "风险控制在账户净值的百分之一以内。" * 30,
                "```python\nrisk = lambda nvda: 1.10 / nvda\n```\n" * 20,
                "risk " + "x" * 3_000,
                "risk 🙂‍↔️" * 100,
                "NVDA `````` risk\n````\n" * 10,
                *Path(__file__).read_text().split("\n\n"),
            ]
        ):
            avm.remember(text, title=f"note {n}")
        yield avm


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.sampled_from(["NVDA risk", "风险", "", "xyzzy nothing", "def test", "🙂"])
    | st.text(max_size=60),
    st.integers(1, 8_000),
    st.sampled_from(["balanced", "recency", "importance", "relevance"]),
)
def test_recall_keeps_to_any_budget(vault: AVM, query: str, budget: int, strategy: str) -> None:
    found = vault.recalled(query, budget, strategy)
    assert real_tokens(found.text) <= found.tokens <= budget


def test_a_memory_s_fence_cannot_be_closed_from_inside(vault: AVM) -> None:
    text = vault.recall("NVDA `````` risk", 300)
    assert "```````\n" in text


def test_a_long_memory_is_never_returned_whole(tmp_path: Path) -> None:
    body = "\n\n".join(f"Paragraph {n} about risk. " + "word " * 80 for n in range(40))
    with AVM(tmp_path / "v", semantic="off") as avm:
        avm.remember(body, title="long")
        assert body.strip() not in avm.recall("risk", 1_000)


@pytest.mark.parametrize("whole", [True, False])
def test_what_does_not_fit_whole_is_cut(whole: bool) -> None:
    text = "Each of these words says a little of what the zebra rules are about. " * 20
    for budget in range(70, 320, 3):
        first = piece(0, "memory/shared/zebra_rules.md", text)._replace(whole=whole)
        packed = pack([first], budget, "text", "1")
        assert packed.passages == 1 and real_tokens(packed.text) <= budget, budget


def test_a_newer_duplicate_of_what_is_cut_is_cut_too() -> None:
    text = " ".join(f"{n:x}word" for n in range(200))
    for budget in range(100, 500, 10):
        found = [piece(0, "memory/a.md", text), piece(1, "memory/b.md", text, changed=1.8e9)]
        packed = pack(found, budget, "text", "2")
        assert packed.passages == 1 and "b.md" in packed.text, budget


def test_blanks_cost_no_token_each() -> None:
    table = "\n".join(f"| {'cell':<40} | {'other':<40} |" for _ in range(8))
    tokens = real_tokens(table)
    assert pack([piece(0, "memory/a.md", table)], tokens + 90, "text", "1").text.count("cell") == 8


def test_what_holds_no_text_is_no_answer_and_keeps_none_away() -> None:
    empty, text = piece(0, "memory/a.md", "  \n"), "Of zebras much is known here. " * 30
    assert pack([empty], 500, "text", "1").text == "Nothing found.\n"
    assert pack([empty, piece(1, "memory/b.md", text)], 100, "text", "2").passages == 1


def test_a_long_fence_is_paid_by_who_needs_it() -> None:
    found = [piece(0, "memory/a.md", "short"), piece(1, "memory/b.md", "`" * 3_000)]
    packed = pack([*found, piece(2, "memory/c.md", "also short")], 200, "text", "3")
    assert "also short" in packed.text and "b.md" not in packed.text


def test_a_name_with_blanks_stands_in_quotes() -> None:
    found = [piece(0, "memory/x.md Do this.md", "a"), piece(1, "memory/y.md", "b")]
    found = [one._replace(whole=True) for one in found]
    assert '- "x.md Do this.md" a\n- y.md b\n' in pack(found, 200, "text", "2").text


def test_tokens_are_counted_exactly_where_that_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_RECALL_TOKENS", "exact")
    with AVM(tmp_path / "v", semantic="off") as avm:
        avm.remember("Ein Text, dessen Schranke weiter ist als sein Maß: Übermäßigkeitsgrenze.")
        found = avm.recalled("Text", 300)
        assert found.passages == 1 and found.tokens == real_tokens(found.text)
        assert found.tokens < count_tokens(found.text)
        monkeypatch.setitem(sys.modules, "bpe_openai", None)
        exact_counter.cache_clear()
        with pytest.raises(ConfigError, match="pip install bpe-openai"):
            avm.recalled("Text", 300)
    exact_counter.cache_clear()
