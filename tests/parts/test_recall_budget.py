"""A recall never costs more than its budget, counted by the real o200k encoding."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avm import AVM
from avm.index.index import MemoryRow, PassageRow
from avm.recall.candidates import Candidate
from avm.recall.packing import pack

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # how the package reads its own data
    import bpe_openai

ENCODING = bpe_openai.get_encoding("o200k_base")


def real_tokens(text: str) -> int:
    """Tokens as OpenAI counts them."""
    return len(ENCODING.encode_ordinary(text))


PIECES = ["the", "risk", "of", "NVDA", "````", "记忆", "メモリ", "def", "f():", "🙂", "\n\n"]
texts = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(
            ["the", "risk", "of", "NVDA", "````", "记忆", "メモリ", "def", "f():", "🙂", "\n\n"]
        )
    ).map(" ".join),
    st.text(st.characters(codec="utf-8"), max_size=200),
)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=12), st.integers(1, 800))
def test_packing_keeps_to_any_budget(notes: list[tuple[str, str]], budget: int) -> None:
    found = [
        Candidate(
            MemoryRow(n, f"memory/shared/{name or 'x'}.md", "t", None, 1.7e9, None, 0, None, 9),
            PassageRow(n, n, 0, 1, 1 + text.count("\n"), text),
            1.0,
        )
        for n, (name, text) in enumerate(notes)
    ]
    packed = pack(found, budget, "text")
    assert real_tokens(packed.text) <= packed.tokens <= budget


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
    st.integers(1, 3_000),
    st.sampled_from(["balanced", "recency", "importance"]),
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
