"""Names: agents, vault paths, and file names that every file system takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.base import paths
from avm.base.access import OWNER, Viewer
from avm.base.errors import UsageError


@given(st.text())
def test_a_stem_from_any_title_is_safe_everywhere(title: str) -> None:
    stem = paths.stem_from_title(title)
    assert stem and len(f"{stem}-9999.md".encode()) <= 255
    assert not set(stem) & set('<>:"/\\|?*\0\n')
    assert stem[0] != "." and stem == stem.strip() and stem[-1] not in ". "
    assert paths.is_memory_name(stem + ".md") and not paths.is_editor_name(stem + ".md")


def test_titles_stay_as_given_where_they_are_safe() -> None:
    assert paths.stem_from_title("nvda_rsi_rule") == "nvda_rsi_rule"
    assert paths.stem_from_title("NVDA RSI rule") == "NVDA RSI rule"
    assert paths.stem_from_title("記憶 メモ") == "記憶 メモ"
    assert paths.stem_from_title("a/b: c?") == "a-b- c-"
    assert paths.stem_from_title("CON") == "CON_"
    assert paths.stem_from_text("Market regime: risk-off") == "market_regime_risk_off"


@pytest.mark.parametrize("path", ["..", "a/../b", "/a//b", "a/./b", "a\0b"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        paths.clean_rel(path)


@pytest.mark.parametrize("name", ["", "Akashi", "-a", "a b", "a/b", "ä", "a" * 64])
def test_agent_names(name: str) -> None:
    with pytest.raises(UsageError, match="agent"):
        paths.check_agent(name)


@given(
    st.lists(st.sampled_from(["memory", "private", "shared", "akashi", "hermes", "x.md", ".git"]))
)
def test_an_agent_sees_its_own_and_shared_and_nothing_else(parts: list[str]) -> None:
    rel = "/".join(parts)
    akashi = Viewer("akashi")
    mine = rel.startswith(("memory/private/akashi", "memory/shared"))
    assert akashi.can_read(rel) == mine
    if akashi.can_write(rel):
        assert akashi.can_read(rel) and ".git" not in parts
    if not akashi.shows_folder(rel):
        assert not akashi.can_read(rel)
    assert OWNER.can_read(rel)


def test_similar_names_are_others() -> None:
    assert not Viewer("akashi").can_read("memory/private/akashi2/x.md")
    assert not Viewer("akashi").can_read("memory/sharedx/x.md")
    assert not Viewer("akashi").can_write("memory/shared/.gitattributes")
    assert not Viewer("akashi").can_write("memory/shared/.AVMignore")
