"""A block of AVM's own in a text: what was put in can be taken out, and nothing else moves."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from avm.hooks import block
from avm.hooks.block import MARKDOWN, TOML, Marks
from avm.hooks.text import TextError
from avm.hooks.toml_server import TomlServer

LINES = st.lists(st.sampled_from(["", "a", "  # b", "\t", "- <!-- c -->", "é", "\ufeff"]))
ENDS = st.sampled_from(["\n", "\r\n"])


@example(["a"], ["\n"], MARKDOWN, True)
@given(LINES, st.lists(ENDS, min_size=1), st.sampled_from([MARKDOWN, TOML]), st.booleans())
def test_what_is_put_in_can_be_taken_out(
    lines: Sequence[str], ends: Sequence[str], marks: Marks, last: bool
) -> None:
    text = "".join(line + ends[n % len(ends)] for n, line in enumerate(lines))
    text = text if last else text.removesuffix("\n").removesuffix("\r")
    assume(text.removeprefix("\ufeff").strip())
    put = block.put(text, "one\ntwo\n", marks)
    assert block.find(put, marks) is not None
    assert block.put(put, "one\ntwo\n", marks) == put
    other = block.put(put, "three\n", marks)
    assert block.take(put, marks) == block.take(other, marks) == text


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_a_text_without_anything_has_the_block_alone(text: str) -> None:
    put = block.put(text, "one\n", MARKDOWN)
    assert put == f"{text}{MARKDOWN.begin}\none\n{MARKDOWN.end}\n"
    assert block.take(put, MARKDOWN) == text


@pytest.mark.parametrize(
    "text", ["{0}\n", "{1}\n", "{1}\n{0}\n", "{0}\n{1}\n{0}\n{1}\n", "{0}\n{0}\n{1}"]
)
def test_marks_without_each_other_are_refused(text: str) -> None:
    with pytest.raises(TextError):
        block.put("first\n" + text.format(*MARKDOWN), "one\n", MARKDOWN)


def test_a_mark_within_a_line_is_none() -> None:
    text = f"see {MARKDOWN.begin}\n"
    assert block.find(text, MARKDOWN) is None


TABLES = [
    "",
    "a = 1",
    '[t]\nb = """\n[mcp_servers.avm]\n"""',
    "[mcp_servers.other]\ncommand = 'x'",
    "[[l]]\n",
]


@given(st.lists(st.sampled_from(TABLES), unique=True), ENDS, st.booleans())
def test_a_server_in_toml_comes_and_goes(tables: list[str], end: str, last: bool) -> None:
    text = "\n".join(tables).replace("\n", end) + (end if last else "")
    try:
        before = tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError:
        return
    assume(text.strip())
    put = TomlServer(['/a "b"/avm', "mcp", "--agent", "é"]).put(text)
    servers = tomllib.loads(put)["mcp_servers"]
    assert servers.pop("avm") == {"command": '/a "b"/avm', "args": ["mcp", "--agent", "é"]}
    assert servers == before.get("mcp_servers", {})
    assert TomlServer(["avm", "mcp"]).take(put, None) == text
