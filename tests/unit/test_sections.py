"""Where a long markdown file is taken apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avm.base.sections import sections


def told(text: str) -> list[tuple[tuple[str, ...], int, str]]:
    """The sections as plain tuples."""
    return [tuple(section) for section in sections(text)]  # type: ignore[misc]


def test_each_heading_begins_a_section_and_names_those_above_it() -> None:
    text = "# Top\n\nintro\n\n## Build\nrun it\n### Tests\npytest\n## Style\nshort\n"
    assert told(text) == [
        (("Top",), 2, "intro\n"),
        (("Build",), 6, "run it\n"),
        (("Build", "Tests"), 8, "pytest\n"),
        (("Style",), 10, "short\n"),
    ]


def test_two_headings_of_the_first_level_are_no_title() -> None:
    assert [trail for trail, _, _ in told("# A\n## B\nx\n# C\ny\n")] == [("A", "B"), ("C",)]


def test_what_comes_first_and_a_file_without_headings() -> None:
    assert told("before\n# A\nx\n") == [((), 1, "before\n"), (("A",), 3, "x\n")]
    assert told("only text\n") == [((), 1, "only text\n")]
    assert told("") == [] and told("# Nothing below\n\n") == []


def test_no_heading_is_taken_from_code_quotes_or_lists() -> None:
    text = "## A\n```\n# code\n```\n> # quote\n\n- # item\n"
    assert told(text) == [(("A",), 2, "```\n# code\n```\n> # quote\n\n- # item\n")]


def test_underlined_headings_and_marks_in_headings() -> None:
    assert told("A *b* `c`\n====\nx\n") == [(("A b c",), 3, "x\n")]


def test_a_level_that_is_left_out_is_left_out() -> None:
    assert [trail for trail, _, _ in told("## A\n#### B\nx\n### C\ny\n")] == [
        ("A", "B"),
        ("A", "C"),
    ]


@given(st.lists(st.sampled_from(["# a", "## b", "text", "", "```", "- # x", "> q"])))
def test_no_line_is_in_two_sections_and_none_of_text_is_lost(lines: list[str]) -> None:
    numbered = [f"{line}{n:03}" if line == "text" else line for n, line in enumerate(lines)]
    found = sections("\n".join([*numbered, ""]))
    joined = "".join(section.text for section in found)
    for line in numbered:
        if line.startswith("text"):
            assert joined.count(line) == 1
    starts = [section.line for section in found]
    assert starts == sorted(set(starts))
