"""What a command does not load: an agent starts one for each question."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest
from conftest import keeper_of, run_avm, wait_for

from avm import AVM
from avm.base.config import user_config_path

#: What no short command needs: each takes 3 to 120 ms.
NEVER = {
    "logging",
    "pygit2",
    "numpy",
    "rich",
    "watchdog",
    "fuse",
    "mfusepy",
    "platformdirs",
    "torch",
}
#: The answers of other questions, and what is loaded where it is used.
FOREIGN = {"avm.api.commits", "avm.vault.background", "avm.vault.committer"}
#: What looks at the files, or ranks by meaning: the keeper's work where there is one.
KEEPERS = {
    "avm.index.filler",
    "avm.index.extract",
    "avm.index.comparison",
    "avm.index.apply",
    "avm.base.memory_file",
    "avm.vault.survey",
    "avm.vault.history",
    "avm.vault.revisions",
    "avm.vault.layout",
    "hashlib",
    "tempfile",
    "subprocess",
    "secrets",
    "importlib.resources",
}
VERBS = {
    "search": (["search", "hello"], {"avm.overlay.names", "avm.api.facts", "avm.api.written"}),
    "recall": (["recall", "hello"], {"avm.overlay.names", "avm.api.facts", "avm.api.written"}),
    "cat": (["cat", "memory/shared/hello.md"], {"sqlite3", "avm.index.index", "subprocess"}),
}


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """A vault with one memory, indexed."""
    with AVM(tmp_path / "vault") as avm:
        avm.remember("hello", title="hello")
        assert avm.search("hello")
    return tmp_path / "vault"


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_command_does_not_load(verb: str, vault: Path) -> None:
    line, unwanted = VERBS[verb]
    assert "avm.api.store" in (loaded := modules(*line, vault=vault))
    assert not loaded & (NEVER | FOREIGN | unwanted)


@pytest.mark.parametrize("verb", ["search", "recall"])
def test_what_a_question_does_not_load_where_a_keeper_runs(verb: str, vault: Path) -> None:
    line, unwanted = VERBS[verb]
    loaded: set[str] = set()

    def asked_the_keeper() -> bool:
        # On a busy machine it may be late for one of them, which then looks at the files itself.
        loaded.clear()
        loaded.update(modules(*line, vault=vault))
        return "avm.index.filler" not in loaded

    with keeper_of(vault):
        wait_for(asked_the_keeper, "a question that the keeper answered the barrier of")
    assert "avm.api.keeper" in loaded
    assert not loaded & (NEVER | FOREIGN | unwanted | KEEPERS)


def test_what_remember_does_not_load(vault: Path) -> None:
    loaded = modules("remember", "something", vault=vault)
    assert "avm.api.written" in loaded
    assert not loaded & {"rich", "numpy", "watchdog", "fuse", "avm.api.commits", "avm.overlay"}


@pytest.mark.parametrize("home", [None, "/elsewhere/config"])
def test_the_users_config_file_is_where_platformdirs_says(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if home:
        monkeypatch.setenv("XDG_CONFIG_HOME", home)
    assert user_config_path() == Path(platformdirs.user_config_dir("avm")) / "config.toml"


def modules(*line: str, vault: Path) -> set[str]:
    """The modules that `avm LINE` loads."""
    # Coverage loads modules of its own.
    uncovered = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
    path = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = run_avm(*line, cwd=vault, **{"PYTHONPROFILEIMPORTTIME": "1"}, **uncovered, **path)
    assert done.returncode == 0, done.stderr
    return {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
