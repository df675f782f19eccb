"""`avm run`: a command in a mount of its own, of which nothing is left when it has ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import git, needs_fuse, run_avm, wait_for

from avm.fuse import registry
from avm.fuse.platform import here
from mount.conftest import KEPT, QUICK, failing, processes_in

pytestmark = needs_fuse

Running = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def running(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A function that begins `avm run ARGS` with its temporary folder in this test's home. In the
    end no mount, no folder and no process may be left but the keeper."""
    for variable, value in (KEPT | QUICK).items():
        monkeypatch.setenv(variable, value)
    (home / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(home / "tmp"))
    begun: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "avm", "run", *args],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield begin
    for one in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)  # also what the command left in the background
        one.communicate(timeout=10)
    # A keeper that has just been started is not to be reached yet.
    wait_for(lambda: run_avm("keeper", "stop") and not processes_in(home), "the keeper's end")
    mounted = [point for point in here.mountpoints() if point.startswith(f"{home}/")]
    for point in mounted:
        subprocess.run(here.unmount_command(point, force=True), check=False)
    assert mounted == []
    assert os.listdir(home / "tmp") == []


def ended(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr; the mount and its folder are gone by then."""
    out, err = process.communicate(timeout=seconds)
    assert os.listdir(os.environ["TMPDIR"]) == []
    assert registry.read_all(Path(os.environ["XDG_RUNTIME_DIR"]) / "avm" / "mounts") == []
    return process.returncode, out, err


def test_it_runs_where_the_mount_is_and_what_it_wrote_is_the_agents(
    running: Running, home: Path
) -> None:
    line = 'pwd; echo "$PWD"; echo quickly > memory/private/akashi/a.md; cat :search?quickly'
    code, out, err = ended(running("--agent", "akashi", "--", "sh", "-c", line))
    assert (code, err) == (0, "")
    folder, same, found = out.splitlines()
    assert folder == same
    assert Path(folder).is_relative_to(home / "tmp")
    assert found == "1.00 /memory/private/akashi/a.md#L1  quickly"
    assert (home / "avm/memory/private/akashi/a.md").read_text() == "quickly\n"
    assert git(home / "avm", "log", "-1", "--format=%an", "--", "memory") == "akashi"
    assert git(home / "avm", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("true",), 0, ""),
        (("sh", "-c", "exit 3"), 3, ""),
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("sh", "-c", "kill $$"), 143, ""),
        (("no-such-command",), 127, "avm: no command 'no-such-command'\n"),
        (("/etc/passwd",), 126, "avm: /etc/passwd: Permission denied\n"),
        ((), 2, "avm: Missing argument 'COMMAND'.\n"),
        (("--json", "true"), 2, "avm: avm run prints what the command prints: leave --json out\n"),
        (("--nosuch", "true"), 2, "avm: No such option '--nosuch'.\n"),
        (("--vault", "nosuch", "true"), 5, "no vault at"),
    ],
)
def test_the_exit_code_is_the_commands_as_a_shell_tells_it(
    running: Running, words: tuple[str, ...], code: int, said: str
) -> None:
    found, out, err = ended(running(*words))
    assert (found, out) == (code, "")
    assert said in err and err.count("\n") == bool(said)


def test_options_after_the_command_are_the_commands(running: Running) -> None:
    code, out, _ = ended(running("printf", "%s,", "--agent", "x", "--json", "-h", "--", "--vault"))
    assert (code, out) == (0, "--agent,x,--json,-h,--,--vault,")


def test_read_only_lets_nothing_through(running: Running, home: Path) -> None:
    line = "cat memory/shared/.gitkeep && echo x > memory/shared/x.md"
    code, _, err = ended(running("--read-only", "sh", "-c", line))
    assert (code, "Read-only file system" in err) == (2, True)
    assert not (home / "avm/memory/shared/x.md").exists()


def test_a_background_child_that_stays_inside_loses_the_mount_and_nothing_it_wrote(
    running: Running, home: Path
) -> None:
    """Also what it has still open for writing is committed."""
    line = "exec 5> memory/shared/open.md; echo 'so far' >&5; sleep 60 >&- 2>&- & echo $!"
    code, out, err = ended(running("sh", "-c", line))
    child = int(out)
    assert code == 0
    # The child may not have become sleep yet.
    assert re.search(rf" was in use by (sleep|sh) \(pid {child}\): detached\n", err)
    assert err.count("\n") == 1
    assert failing(lambda: os.stat(f"/proc/{child}/cwd/memory")) == "ENOTCONN"
    assert git(home / "avm", "show", "HEAD:memory/shared/open.md") == "so far"
    assert git(home / "avm", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("number", "to_all", "trap", "then", "expected"),
    [
        (signal.SIGINT, True, "", "exec sleep 60", 130),
        (signal.SIGINT, True, "trap 'exit 5' INT;", "sleep 60", 5),
        (signal.SIGTERM, False, "", "exec sleep 60", 143),
        (signal.SIGTERM, False, "trap 'exit 5' TERM;", "while :; do :; done", 5),
        (signal.SIGHUP, True, "", "exec sleep 60", 129),
    ],
)
def test_a_signal_ends_the_command_and_then_the_mount(
    running: Running,
    home: Path,
    number: signal.Signals,
    to_all: bool,
    trap: str,
    then: str,
    expected: int,
) -> None:
    process = running("sh", "-c", f"{trap} echo last > memory/shared/last.md; {then}")
    last = home / "avm/memory/shared/last.md"
    wait_for(lambda: last.exists() and last.read_text(), "the command")
    (os.killpg if to_all else os.kill)(process.pid, number)
    code, _, err = ended(process)
    assert (code, err) == (expected, "")
    assert git(home / "avm", "show", "HEAD:memory/shared/last.md") == "last"


def test_a_signal_before_the_command_has_begun_ends_it_then(running: Running, home: Path) -> None:
    process = running("sleep", "60")
    wait_for(lambda: os.listdir(home / "tmp"), "the temporary folder")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    assert time.monotonic() - began < 20


def test_a_mount_that_stays_is_not_emptied(
    running: Running, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no tool can unmount, the temporary folder still shows the vault's files."""
    ended(running("true"))
    tools = home / "tools"
    tools.mkdir()
    for name in ("fusermount", "fusermount3"):
        (tools / name).write_text("#!/bin/sh\necho not now; exit 1\n")
        (tools / name).chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tools}:{path}")
    code, _, err = process_end(running("sh", "-c", "echo mine > memory/shared/mine.md"))
    monkeypatch.setenv("PATH", path)
    assert (code, "cannot unmount" in err, err.count("\n")) == (10, True, 1)
    assert (home / "avm/memory/shared/mine.md").read_text() == "mine\n"
    (point,) = [point for point in here.mountpoints() if point.startswith(f"{home}/")]
    assert run_avm("unmount", point).returncode == 0
    os.rmdir(point)
    os.rmdir(Path(point).parent)


def process_end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The same, whatever it left."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
