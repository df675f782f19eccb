"""Changing JSON in one place: what was put in can be taken out, and nothing else moves."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from avm.hooks import json_text
from avm.hooks.json_hooks import JsonHooks
from avm.hooks.json_server import Form, JsonServer
from avm.hooks.json_text import Keys
from avm.hooks.part import Part
from avm.hooks.text import TextError

KEYS = ("a", "b", 'q"uote', "ключ", "", "mcpServers", "hooks", "Stop")
SCALARS = st.sampled_from(
    [None, True, 0, -1.5e3, "", "x", "a // b /* c */", "\u2028", 'say "hi"\n']
)
OURS = {"command": "avm", "args": ["mcp", "--agent", "claude-code"]}


@st.composite
def texts(draw: st.DrawFn, comments: bool = True) -> tuple[str, dict[str, Any]]:
    """A JSON object in some odd layout, and what it says."""
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    pieces = ["", " ", "\t", line_end, line_end + "  ", f" {line_end}{line_end}\t"]
    if comments:
        pieces += ["/* it's {a} comment, */", f"// to [the] end, {line_end}", f" //{line_end}  "]
    blank = st.lists(st.sampled_from(pieces), max_size=2).map("".join)

    def value(depth: int) -> tuple[str, Any]:
        kind = draw(st.sampled_from(["scalar", "object", "array"] if depth < 3 else ["scalar"]))
        if kind == "scalar":
            scalar = draw(SCALARS)
            return json.dumps(scalar, ensure_ascii=draw(st.booleans())), scalar
        return container(depth, kind == "object")

    def container(depth: int, is_object: bool) -> tuple[str, Any]:
        names = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=3))
        parts, values = [], []
        for name in names:
            shown, one = value(depth + 1)
            named = json.dumps(name) + draw(blank) + ":" + draw(blank) if is_object else ""
            parts.append(draw(blank) + named + shown + draw(blank))
            values.append(one)
        inside = ",".join(parts) or draw(blank)
        if comments and parts and draw(st.booleans()):
            inside += "," + draw(blank)
        made = dict(zip(names, values, strict=True)) if is_object else values
        return ("{" + inside + "}" if is_object else "[" + inside + "]"), made

    shown, made = container(0, True)
    return draw(st.sampled_from(["", "\ufeff"])) + draw(blank) + shown + draw(blank), made


def containers(value: Any, keys: Keys = ()) -> list[tuple[Keys, Any]]:
    """Every container within a value, with the keys that lead there."""
    if not isinstance(value, (dict, list)):
        return []
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    return [(keys, value), *(one for step, v in steps for one in containers(v, (*keys, step)))]


def get(value: Any, keys: Keys) -> Any:
    for step in keys:
        value = value[step]
    return value


@given(texts())
def test_a_text_says_what_it_was_made_of(made: tuple[str, dict[str, Any]]) -> None:
    text, value = made
    assert json_text.parse(text).value == value


@given(texts(comments=False))
def test_strict_json_is_read_as_python_reads_it(made: tuple[str, dict[str, Any]]) -> None:
    text, _ = made
    assert json_text.parse(text).value == json.loads(text.removeprefix("\ufeff"))


@given(st.booleans().flatmap(texts), st.data())
def test_what_is_inserted_can_be_removed(
    made: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    text, value = made
    objects = [one for one in containers(value) if isinstance(one[1], dict)]
    keys, there = data.draw(st.sampled_from(objects))
    new = tuple(data.draw(st.lists(st.sampled_from(["new", "a", ""]), min_size=1, max_size=3)))
    assume(new[0] not in there)
    inserted = json_text.insert(text, (*keys, *new), OURS)
    wanted = OURS
    for step in reversed(new[1:]):
        wanted = {step: wanted}
    there[new[0]] = wanted
    assert json_text.parse(inserted).value == value
    if "/" not in text:
        assume(not re.search(r",\s*[}\]]", text))
        assert json.loads(inserted.removeprefix("\ufeff")) == value
    assert json_text.remove(inserted, (*keys, *new), text) == text


@given(texts(), st.data())
def test_what_is_appended_can_be_removed(
    made: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    text, value = made
    arrays = [one for one in containers(value) if isinstance(one[1], list)]
    assume(arrays)
    keys, there = data.draw(st.sampled_from(arrays))
    appended = json_text.append(text, keys, OURS)
    there.append(OURS)
    assert json_text.parse(appended).value == value
    assert json_text.remove(appended, (*keys, len(there) - 1), text) == text


@given(texts(), st.data())
def test_only_what_is_removed_goes(made: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    text, value = made
    places = [
        (*keys, step)
        for keys, there in containers(value)
        for step in (there if isinstance(there, dict) else range(len(there)))
    ]
    assume(places)
    keys = data.draw(st.sampled_from(places))
    parent = json_text.find(json_text.parse(text), keys[:-1])
    assert parent is not None and parent.children is not None
    (child,) = [c for n, c in enumerate(parent.children) if keys[-1] in (n, c.key)]
    removed = json_text.remove(text, keys, text)
    del get(value, keys[:-1])[keys[-1]]
    assert json_text.parse(removed).value == value
    outside = text[: child.start] + text[child.node.end :]
    comment = re.compile(r"/\* it's \{a\} comment, \*/|// to \[the\] end, ")
    assert len(comment.findall(removed)) == len(comment.findall(outside))


@given(texts(), st.data())
def test_a_value_is_replaced_where_it_stands(
    made: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    text, value = made
    places = [
        (*keys, step)
        for keys, there in containers(value)
        if isinstance(there, dict)
        for step in there
    ]
    assume(places)
    keys = data.draw(st.sampled_from(places))
    node = json_text.find(json_text.parse(text), keys)
    assert node is not None
    replaced = json_text.replace(text, keys, OURS)
    get(value, keys[:-1])[keys[-1]] = OURS
    assert json_text.parse(replaced).value == value
    assert replaced.startswith(text[: node.start]) and replaced.endswith(text[node.end :])


PARTS = [
    JsonServer(Form(("mcpServers",), OURS)),
    JsonServer(Form(("a", "b"), OURS), Form(("a",), {**OURS, "enabled": True})),
    JsonHooks(
        "claude-code", {"Stop": "avm hook claude-code Stop", "a": "avm hook claude-code a"}, 9
    ),
]


@given(texts(), st.sampled_from(PARTS))
def test_a_part_comes_and_goes(made: tuple[str, dict[str, Any]], part: Part) -> None:
    text, _ = made
    try:
        put = part.put(text)
    except TextError:
        return
    assert part.is_in(put) and not part.is_in(text)
    assert part.put(put) == put
    assert part.take(put, text) == text


LAYOUTS = [
    ("{}", '{\n  "n": 1\n}'),
    ("{}\n", '{\n  "n": 1\n}\n'),
    ('{"a": 1}', '{"a": 1, "n": 1}'),
    ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"n": 1\n}\n'),
    ('{\r\n    "a": 1\r\n}', '{\r\n    "a": 1,\r\n    "n": 1\r\n}'),
    ('{\n  "a": 1, // one\n}\n', '{\n  "a": 1, // one\n  "n": 1,\n}\n'),
    ('{\n  "a": 1 // one\n}\n', '{\n  "a": 1, // one\n  "n": 1\n}\n'),
    ("{\n  // none\n}", '{\n  // none\n  "n": 1\n}'),
    ('{"a": 1 // one\n}', '{"a": 1, // one\n  "n": 1\n}'),
]


@pytest.mark.parametrize(("text", "inserted"), LAYOUTS)
def test_it_is_laid_out_as_its_neighbours_are(text: str, inserted: str) -> None:
    assert json_text.insert(text, ("n",), 1) == inserted


def test_a_container_that_is_made_is_indented_as_the_file_is() -> None:
    text = '{\n    "a": {\n        "b": 1\n    }\n}\n'
    wanted = (
        '{\n    "a": {\n        "b": 1\n    },\n    "mcpServers": {\n        "avm": {\n'
        '            "command": "avm"\n        }\n    }\n}\n'
    )
    assert json_text.insert(text, ("mcpServers", "avm"), {"command": "avm"}) == wanted


def test_a_comment_of_a_person_s_within_stays() -> None:
    text = json_text.insert("{}", ("servers", "avm"), 1).replace(": 1", ": 1 // mine")
    removed = json_text.remove(text, ("servers", "avm"))
    assert "// mine" in removed and json_text.parse(removed).value == {"servers": {}}


def test_of_one_name_twice_the_last_counts() -> None:
    root = json_text.parse('{"a": 1, "a": {"b": 2}}')
    node = json_text.find(root, ("a", "b"))
    assert node is not None and node.value == 2


BROKEN = [
    ("", 1), ("{", 1), ('{\n"a": 1\n"b": 2}', 3), ('{"a" 1}', 1), ("{\n1: 2}", 2), ("[1,,2]", 1),
    ('{"a": tru}', 1), ('{"a": NaN}', 1), ('{"a": "\n"}', 1), ("{}\n{}", 2), ("{} x", 1),
    ("/* no end", 1), ("{'a': 1}", 1), ('{"a": 1' + "}" * 2, 1), ("[" * 100_000, 1),
    ('{"a": ' + "1" * 5000 + "}", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), BROKEN)
def test_a_broken_text_is_refused_by_its_line(text: str, line: int) -> None:
    with pytest.raises(TextError) as told:
        json_text.parse(text)
    assert told.value.line == line and "\n" not in str(told.value)


@pytest.mark.parametrize("text", ['{\n"a": []}', '{\n"a": 1}', '{\n"a": null}'])
def test_what_stands_in_the_way_is_not_overwritten(text: str) -> None:
    with pytest.raises(TextError, match="a is not an object") as told:
        json_text.insert(text, ("a", "b"), 1)
    assert told.value.line == 2
    with pytest.raises(TextError, match="a is not an array"):
        json_text.append('{"a": {}}', ("a",), 1)
    with pytest.raises(TextError, match="the whole is not an object"):
        json_text.insert("[]", ("a",), 1)


@example("")
@given(st.text(alphabet='{}[]",:/* \n1a\\'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value = json_text.parse(text).value
    except TextError:
        return
    if "/" not in text and not re.search(r",\s*[}\]]", text):
        assert value == json.loads(text)
