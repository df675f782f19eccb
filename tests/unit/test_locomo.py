"""Conversations with questions, read; and what is said of a file in another form."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conversation_data import tiny

from avm.base.errors import UsageError
from avm.bench import locomo
from avm.bench.locomo import Turn


def read(folder: Path, value: Any) -> list[locomo.Conversation]:
    file = folder / "data.json"
    file.write_text(json.dumps(value))
    return locomo.read(file)


def test_what_is_read(tmp_path: Path) -> None:
    first, second = read(tmp_path, tiny())
    assert (first.id, second.id) == ("one", "two")
    may, june = first.sessions
    assert may.when == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert second.sessions[0].when == datetime(2023, 2, 1, 0, 48, tzinfo=UTC)
    assert may.turns[0] == Turn("D1:1", "Ada", "I planted tomatoes today.")
    assert june.turns[0].text == "Look at this harvest of radishes!"
    assert first.texts["D1:2"] == "My bicycle has a puncture."


def test_what_can_be_answered_names_its_evidence_and_was_said(tmp_path: Path) -> None:
    first, _ = read(tmp_path, tiny())
    assert len(first.questions) == 5
    assert [question.text for question in first.answerable] == [
        "Tomatoes?",
        "Radishes?",
        "Zeppelin?",
    ]
    assert first.answerable[0].evidence == ("D1:1", "D2:2")


def one(data: Any) -> Any:
    return data["conversations"][0]


def session(data: Any) -> Any:
    return one(data)["sessions"][1]


WRONG: dict[str, Callable[[Any], object]] = {
    " has no 'conversations'": lambda data: data.clear(),
    ": 'conversations' is not a list": lambda data: data.update(conversations={}),
    ": conversation 1 has no 'sessions'": lambda data: one(data).pop("sessions"),
    ": conversation 1 has no turn": lambda data: one(data).update(sessions=[], qa=[]),
    ": conversation 1: 'id' is '../x': it must be letters, digits, ':', '_', '-'": (
        lambda data: one(data).update(id="../x")
    ),
    ": conversation 1: session 2: 'date' is 'June': it must be like '1:56 pm on 8 May, 2023'": (
        lambda data: session(data).update(date="June")
    ),
    ": conversation 1: session 2: 'n' is not a whole number": (
        lambda data: session(data).update(n="2")
    ),
    ": conversation 1: two sessions have the same 'n'": lambda data: session(data).update(n=1),
    ": conversation 1: session 2: turn 2 is no object": (
        lambda data: session(data)["turns"].__setitem__(1, "hello")
    ),
    ": conversation 1: session 2: turn 2: 'text' is not text": (
        lambda data: session(data)["turns"][1].update(text=7)
    ),
    ": conversation 1: two turns have the same 'id'": (
        lambda data: session(data)["turns"][1].update(id="D1:1")
    ),
    ": conversation 1: qa 2: 'evidence' names 'D9:9', which is no turn's 'id'": (
        lambda data: one(data)["qa"][1].update(evidence=["D9:9"])
    ),
    ": two conversations have the same 'id'": lambda data: one(data).update(id="two"),
    ": no question of categories 1–4 with evidence": (
        lambda data: [conversation.update(qa=[]) for conversation in data["conversations"]]
    ),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_file_in_another_form(tmp_path: Path, said: str) -> None:
    data = tiny()
    WRONG[said](data)
    with pytest.raises(UsageError) as error:
        read(tmp_path, data)
    assert str(error.value) == f"{tmp_path / 'data.json'}{said}"


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe\x00", b""])
def test_a_file_that_is_not_json(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(raw)
    with pytest.raises(UsageError, match="is not JSON: ") as error:
        locomo.read(file)
    assert "\n" not in str(error.value)


def test_a_list_is_no_object(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.json is no object$"):
        read(tmp_path, [])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot read .*: No such file or directory$"):
        locomo.read(tmp_path / "none.json")
