"""What configuration gives and denies agents, and what a viewer makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.base import config
from avm.base.access import OWNER, Quota, Rules, Viewer
from avm.base.errors import ConfigError


def rules(tmp_path: Path, text: str, agent: str = "akashi", vault: str = "") -> Rules:
    """The rules of an agent by a user's file, and a vault's own."""
    files = tmp_path / "user.toml", tmp_path / "vault.toml"
    for file, content in zip(files, (text, vault), strict=True):
        file.write_text(content)
    return config.load({}, {}, user_file=files[0], vault_file=files[1]).access.of(agent)


def test_without_a_table_there_are_no_rules(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == Rules()


def test_a_table_gives_and_denies(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        '[agents.akashi]\nread = ["/projects/**", "/plan.md"]\nwrite = ["/team/"]\n'
        'deny = ["/memory/shared/hr"]\n',
    )
    assert found == Rules(("projects", "plan.md"), ("team",), ("memory/shared/hr",))


def test_groups_add_up(tmp_path: Path) -> None:
    text = (
        '[agents.akashi]\nread = ["/a"]\n'
        '[groups.traders]\nmembers = ["akashi"]\nread = ["/b"]\n'
        '[groups.all]\nmembers = ["*"]\ndeny = ["/c"]\nread_only = true\n'
    )
    assert rules(tmp_path, text) == Rules(("a", "b"), (), ("c",), True)
    assert rules(tmp_path, text, "bob") == Rules((), (), ("c",), True)


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("{ files = 5 }", Quota(5, None)),
        ("{ bytes = 1_000 }", Quota(None, 1000)),
        ('{ files = 0, bytes = "20 MB" }', Quota(0, 20_000_000)),
        ('{ bytes = "3KiB" }', Quota(None, 3072)),
        ('{ bytes = "7 B" }', Quota(None, 7)),
    ],
)
def test_a_quota(tmp_path: Path, text: str, quota: Quota) -> None:
    assert rules(tmp_path, f"[agents.akashi]\nquota = {text}\n").quota == quota


def test_what_gives_writing_is_named(tmp_path: Path) -> None:
    text = '[agents.akashi]\nread = ["/projects"]\nwrite = ["/projects/akashi"]\n'
    viewer = Viewer("akashi", rules(tmp_path, text))
    assert viewer.writing("projects/akashi/y.md") == (True, "write: /projects/akashi")
    assert viewer.reading("projects/akashi/y.md") == (True, "read: /projects")


def test_of_several_quotas_the_least_holds(tmp_path: Path) -> None:
    text = (
        "[agents.akashi]\nquota = { files = 5 }\n"
        '[groups.all]\nmembers = ["*"]\nquota = { files = 3, bytes = 100 }\n'
        '[groups.rich]\nmembers = ["akashi"]\nquota = { bytes = "1 GB" }\n'
    )
    assert rules(tmp_path, text).quota == Quota(3, 100)
    assert rules(tmp_path, "[agents.akashi]\n").quota == Quota()


def test_the_vaults_own_file_wins_key_by_key(tmp_path: Path) -> None:
    user = '[agents.akashi]\nread = ["/a"]\ndeny = ["/b"]\n'
    found = rules(tmp_path, user, vault='[agents.akashi]\nread = ["/c"]\n')
    assert (found.read, found.deny) == (("c",), ("b",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[agents.akashi]\nreads = ["/a"]', "unknown key 'agents.akashi.reads'"),
        ('[agents.Akashi]\nread = ["/a"]', "agent 'Akashi'"),
        ("[agents.akashi]\nquota = 5", "quota is 5: give a table such as"),
        ("[agents.akashi]\nquota = { inodes = 5 }", "unknown key 'agents.akashi.quota.inodes'"),
        ("[agents.akashi]\nquota = { files = -1 }", "quota.files is -1: give a whole number"),
        ("[agents.akashi]\nquota = { files = true }", "give a whole number"),
        ('[agents.akashi]\nquota = { files = "5 B" }', "give a whole number"),
        ('[agents.akashi]\nquota = { bytes = "5 mb" }', 'such as "20 MB"'),
        ('[agents.akashi]\nread = "/a"', "give a list of text"),
        ('[agents.akashi]\nread = ["a"]', "give a folder such as"),
        ('[agents.akashi]\nread = ["/a/*.md"]', "give a folder such as"),
        ('[agents.akashi]\nread = ["/../a"]', "/../a"),
        ("agents = 3", "agents is 3: give tables, [agents.NAME]"),
        ("groups = []", "groups is []: give tables"),
        ('[agents.akashi]\nread = ["/../etc"]', "agents.akashi.read: "),
        ('[agents.akashi]\nread = ["/"]', "name folders and files of the vault, not all"),
        ('[agents.akashi]\nwrite = ["/.git/hooks"]', "name a folder or file of the vault"),
        ("[agents.akashi]\nread_only = 1", "use true or false"),
        ('[groups.g]\nmembers = ["A"]', "agent 'A'"),
        ("[agents]\nakashi = 3", "give a table"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        rules(tmp_path, text)
    assert said in str(error.value) and str(tmp_path / "user.toml") in str(error.value)


def test_deny_wins_and_hides_the_folder() -> None:
    viewer = Viewer("akashi", Rules(("projects",), (), ("projects/hr", "memory/shared/x.md")))
    assert viewer.can_read("projects/plan.md") and not viewer.can_write("projects/plan.md")
    assert viewer.shows_folder("projects") and not viewer.shows_folder("projects/hr")
    for rel in ("projects/hr", "projects/hr/a.md", "projects/HR/a.md", "memory/shared/X.md"):
        assert not viewer.can_read(rel) and not viewer.can_write(rel), rel
    assert viewer.can_read("projects/hr2/a.md")
    assert not viewer.reads_all_in("projects") and viewer.reads_all_in("projects/other")
    assert not viewer.reads_all_in("memory/shared")


def test_a_twin_in_unicode_leads_around_nothing() -> None:
    viewer = Viewer("akashi", Rules(deny=("memory/shared/caf\u00e9",)))
    assert not viewer.can_read("memory/shared/cafe\u0301/x.md")


def test_read_only_takes_its_own_folder_too() -> None:
    viewer = Viewer("akashi", Rules(write=("team",), read_only=True))
    assert viewer.can_read("team/x.md")
    for rel in ("team/x.md", "memory/private/akashi/x.md", "memory/shared/x.md"):
        assert not viewer.can_write(rel)


def test_a_file_that_is_given_to_write_may_be_written_and_a_folder_itself_not() -> None:
    viewer = Viewer("akashi", Rules(write=("plan.md", "team")))
    assert viewer.can_write("plan.md") and viewer.can_write("team/x.md")
    assert not viewer.can_write("team") and not viewer.can_write("team/.gitignore")


_NAMES = st.sampled_from(["a", "b", "hr", "x.md"])
_RELS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


@given(st.lists(_RELS, max_size=3), st.lists(_RELS, max_size=3), st.lists(_RELS, max_size=3), _RELS)
def test_what_is_said_for_people_is_what_is_done(
    read: list[str], write: list[str], deny: list[str], rel: str
) -> None:
    viewer = Viewer("akashi", Rules(tuple(read), tuple(write), tuple(deny)))
    assert viewer.reading(rel).allowed == viewer.can_read(rel)
    assert viewer.writing(rel).allowed == viewer.can_write(rel)
    assert viewer.can_read(rel) or not viewer.can_write(rel)
    if viewer.reads_all_in(rel):
        assert all(viewer.can_read(f"{rel}/{name}") for name in ("a", "hr", "b/x.md"))
    above: Any = rel.rpartition("/")[0]
    if viewer.can_read(rel):
        assert viewer.shows_folder(above)


def test_the_owner_may_do_all() -> None:
    assert OWNER.reading("x").allowed and OWNER.writing("x").allowed
    assert not OWNER.writing(".git/config").allowed
