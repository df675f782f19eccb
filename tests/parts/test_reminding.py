"""What is told without being asked for, through the API and full text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avm import AVM, AgentMemory

DEPLOY = "The staging deploy of billing needs the flag --skip-migrations since the Aurora upgrade."
SHORT = "Mika prefers tabs in Makefiles and spaces everywhere else."


@pytest.fixture
def view(tmp_path: Path) -> Iterator[AgentMemory]:
    with AVM(tmp_path / "vault", semantic="off") as avm:
        akashi = avm.agent_memory("akashi")
        akashi.remember(DEPLOY, title="Deploying billing")
        akashi.remember(SHORT, title="Formatting", importance=0.9)
        for number in range(40):
            akashi.remember(f"Note {number} about the garden: beans, peas and {number} tulips.")
        avm.agent_memory("hermes").remember("The billing deploy is a secret of hermes.")
        yield akashi


def test_a_prompt_that_deserves_it_is_answered(view: AgentMemory) -> None:
    told = view.reminder("please deploy billing to staging and tell me when it is done", 300)
    assert told is not None and "--skip-migrations" in told.text
    assert "hermes" not in told.text and "garden" not in told.text
    assert 0 < told.tokens <= 300


@pytest.mark.parametrize(
    "prompt",
    ["", "   ", "yes, go on", "continue", "fix the failing test", "?!", "tag:garden", "a " * 5_000],
)
def test_others_are_not(view: AgentMemory, prompt: str) -> None:
    assert view.reminder(prompt, 300) is None


def test_filters_and_quotes_are_words(view: AgentMemory) -> None:
    told = view.reminder('-garden path:nowhere "billing staging" deploy Aurora', 300)
    assert told is not None and DEPLOY in told.text


def test_of_a_long_prompt_both_ends_count(view: AgentMemory) -> None:
    log = "2026-11-20 12:00:00 INFO worker idle\n" * 30_000
    told = view.reminder(f"{log}\ndeploy billing to staging: why does Aurora fail?", 300)
    assert told is not None and DEPLOY in told.text


def test_what_is_known_is_not_told_again(view: AgentMemory) -> None:
    prompt = "deploy billing to staging, with the Aurora flag"
    told = view.reminder(prompt, 300)
    assert told is not None
    assert view.reminder(prompt, 300, told.keys) is None


def test_a_cut_piece_is_known_by_its_beginning(view: AgentMemory) -> None:
    view.remember("zebra crossing " * 300, title="zebra")
    told = view.reminder("zebra crossing", 100)
    assert told is not None and "…" in told.text
    assert view.reminder("zebra crossing", 2_000, told.keys) is None


def test_a_brief_holds_what_matters(view: AgentMemory) -> None:
    told = view.brief(70)
    assert told is not None and SHORT in told.text and told.tokens <= 70
    more = view.brief(70, told.keys)
    assert more is not None and SHORT not in more.text


def test_nothing_remembered_is_no_brief(tmp_path: Path) -> None:
    with AVM(tmp_path / "empty", semantic="off") as avm:
        assert avm.brief(500) is None and avm.reminder("what do you know", 500) is None
