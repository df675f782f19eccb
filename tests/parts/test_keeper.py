"""The keeper: one a vault, an answer that is right, an end in good order, a successor."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git, gone, keeper_of, run_avm, wait_for
from vault_helpers import assert_clean, show

from avm import AVM
from avm.api import doctor, open_avm
from avm.api import keeper as api_keeper
from avm.api.checks import CHECKS
from avm.api.keeper import hello, note_socket, noted_socket, socket_path
from avm.api.waiting import Waiting
from avm.base.keeper_client import PROTOCOL, Connection, Hello, line
from avm.embed.model_folder import semantic_installed
from avm.keeper import election
from avm.keeper.election import is_taken, take_role
from avm.vault.location import Vault


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """A vault of one memory, with git's first commit; the model is left out."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    with AVM(tmp_path / "v", semantic="off") as avm:
        avm.remember("The first common word.", title="first")
    return avm.store.vault


@pytest.fixture
def pid(vault: Vault) -> Iterator[int]:
    """The keeper of that vault."""
    with keeper_of(vault.root, AVM_COMMIT_QUIET="0.1s") as pid:
        yield pid


def status(vault: Vault) -> dict[str, object] | None:
    """What the keeper says of itself."""
    with open_avm(vault.root, {}, Waiting.COMMAND) as avm:
        return avm.store.keeper.ask("status", timeout=10.0)


# One a vault


def test_ten_starts_make_one_keeper(vault: Vault, pid: int) -> None:
    command = [sys.executable, "-m", "avm", "--vault", str(vault.root), "keeper"]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(10)]
    told = {other.communicate(timeout=60)[0] for other in others}
    assert told == {f"a keeper runs already (process {pid})\n".encode()}
    assert [other.returncode for other in others] == [0] * 10


def test_of_ten_that_start_at_once_one_stays(vault: Vault) -> None:
    command = [sys.executable, "-m", "avm", "--vault", str(vault.root), "keeper", "--quiet"]
    started = [subprocess.Popen(command) for _ in range(10)]
    wait_for(lambda: sum(one.poll() is None for one in started) == 1, "nine to give way", 60)
    (winner,) = [one for one in started if one.returncode is None]
    wait_for(lambda: status(vault), "the winner's answer")
    assert status(vault)["pid"] == winner.pid  # type: ignore[index]
    assert run_avm("--vault", str(vault.root), "keeper", "stop").stdout == "stopped\n"
    assert winner.wait(10) == 0


OLD = """
import sys, avm
avm.__version__ = "0.0.9"
from avm.cli import main
main()
"""


def test_a_newer_one_replaces_an_older(vault: Vault) -> None:
    old = subprocess.Popen(
        [sys.executable, "-c", OLD, "--vault", str(vault.root), "keeper"], stdout=subprocess.PIPE
    )
    wait_for(lambda: status(vault), "the old keeper")
    with keeper_of(vault.root) as pid:
        # `start` is content with one that runs; a new program is not.
        assert pid == old.pid
        new = subprocess.Popen([sys.executable, "-m", "avm", "--vault", str(vault.root), "keeper"])
        assert old.wait(30) == 0
        wait_for(lambda: (status(vault) or {}).get("pid") == new.pid, "the new keeper")
        again = subprocess.run(
            [sys.executable, "-c", OLD, "--vault", str(vault.root), "keeper"],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        assert f"process {new.pid}".encode() in again.stdout
    assert new.wait(10) == 0
    assert old.stdout and old.stdout.read() == b""
    old.stdout.close()


@pytest.mark.parametrize(
    ("mine", "other", "replaces"),
    [
        (("1.2.0", 3, 1, ()), ("1.2.0", 3, 1, ()), False),
        (("1.10.0", 3, 1, ()), ("1.9.9", 3, 1, ()), True),
        (("1.2.0", 4, 1, ()), ("1.9.0", 3, 1, ()), True),
        (("1.9.0", 3, 1, ()), ("1.10rc1", 3, 1, ()), False),
        (("1.2.0", 3, 1, ("embed",)), ("1.2.0", 3, 1, ()), True),
        (("1.2.0", 3, 1, ()), ("1.2.0", 3, 1, ("embed",)), False),
        (("1.1.0", 3, 1, ("embed",)), ("1.2.0", 3, 1, ()), False),
        (("1.0.0", 1, 2, ()), ("2.0.0", 9, 1, ()), True),
    ],
)
def test_newer_is_protocol_then_schema_then_version_then_abilities(
    mine: tuple[str, int, int, tuple[str, ...]],
    other: tuple[str, int, int, tuple[str, ...]],
    replaces: bool,
) -> None:
    def made(version: str, schema: int, protocol: int, abilities: tuple[str, ...]) -> Hello:
        return Hello(version, schema, "/v", 1, abilities, protocol)

    assert made(*mine).replaces(made(*other)) is replaces
    assert not (made(*other).replaces(made(*mine)) and replaces)


def test_a_keeper_of_another_schema_is_not_asked(
    vault: Vault, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avm.index import database

    monkeypatch.setattr(database, "SCHEMA", database.SCHEMA + 1)
    with open_avm(vault.root, {"semantic": "off"}, Waiting.COMMAND) as avm:
        assert not avm.store.keeper.barrier()
        assert len(avm.search("common")) == 1


# Where it is found


def test_a_process_with_another_runtime_folder_finds_it(
    vault: Vault, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.environ["HOME"]) / "cron"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    assert (status(vault) or {})["pid"] == pid
    other = run_avm("--vault", str(vault.root), "keeper")
    assert other.stdout == f"a keeper runs already (process {pid})\n"
    assert run_avm("--vault", str(vault.root), "keeper", "stop").stdout == "stopped\n"
    wait_for(lambda: gone(pid), "its end")
    # the note of one that is gone leads nowhere, until the next one writes its own
    assert status(vault) is None
    with keeper_of(vault.root) as another:
        assert (status(vault) or {})["pid"] == another != pid


def test_the_note_of_a_copied_vault_leads_to_nobody(
    vault: Vault, pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(vault.root, tmp_path / "copy")
    with open_avm(tmp_path / "copy", {"semantic": "off"}, Waiting.COMMAND) as copy:
        assert noted_socket(copy.store.vault) == socket_path(vault)
        assert copy.store.keeper.status() is None and copy.store.keeper.met is None
        role = take_role(copy.store.vault, hello(copy.store.vault))
        assert role is not None and not isinstance(role, Hello)
        # Somebody has the role and does not answer: the other vault's keeper is not the one to end.
        monkeypatch.setattr(election, "_STOP_SECONDS", 0.2)
        assert not election.stop(copy.store.vault, hello(copy.store.vault))
        role.release()
    assert not gone(pid) and (status(vault) or {})["pid"] == pid


@pytest.mark.parametrize("note", [b"", b"\0\xff", b"/", b"/dev/null", b"x" * 9000])
def test_a_note_that_is_noise_leads_to_nobody(vault: Vault, pid: int, note: bytes) -> None:
    (vault.state_dir / "keeper.socket").write_bytes(note)
    done = run_avm("--vault", str(vault.root), "search", "common")
    assert (done.returncode, done.stderr) == (0, "") and "first.md" in done.stdout
    note_socket(vault, socket_path(vault))


# Its answers


def test_a_barrier_is_right_and_nobody_scans(vault: Vault, pid: int) -> None:
    with open_avm(vault.root, {"semantic": "off"}, Waiting.COMMAND) as avm:
        for number in range(100):
            vault.path("memory/shared/n.md").write_text(f"word{number}")
            assert avm.store.keeper.ask("barrier", timeout=30.0) == {"ok": True}
            hits = avm.store.index.search(_words(f"word{number}"), avm._filter(""), 10)
            assert len(hits) == 1


def _words(text: str) -> object:
    from avm.recall import query

    return query.parse(text).words


def test_what_is_no_message_ends_the_conversation_and_nothing_else(vault: Vault, pid: int) -> None:
    mine = hello(vault)
    for noise in (b"\n", b"[]\n", b"{}\n", b"\xff\xfe\n", os.urandom(4096) + b"\n", b"{" * 5000):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(os.fspath(socket_path(vault)))
            raw.sendall(noise)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
    talk = Connection(socket_path(vault), mine)
    assert "no operation 'dance'" in talk.ask(5.0, {"op": "dance"})["error"]
    assert talk.ask(5.0, {"op": "barrier"}) == {"ok": True}
    talk.close()
    # Half a message, and two at once.
    talk = Connection(socket_path(vault), mine)
    twice = line({"op": "barrier"}) * 2
    talk._socket.sendall(twice[:9])
    talk._socket.sendall(twice[9:])
    assert [talk.listen(5.0), talk.listen(5.0)] == [{"ok": True}] * 2
    talk.close()
    assert not gone(pid)


def test_whoever_asks_and_does_not_read_gets_it_all_in_the_end(vault: Vault, pid: int) -> None:
    talk = Connection(socket_path(vault), hello(vault))
    try:
        talk._socket.setblocking(False)
        sent = 0
        asked = line({"op": "no" * 500}) * 50
        # Until neither side's buffer takes any more.
        with contextlib.suppress(BlockingIOError):
            while sent < 50_000_000:
                sent += talk._socket.send(asked)
        talk._socket.setblocking(True)
        assert "no operation" in talk.listen(5.0)["error"]
    finally:
        talk.close()
    other = Connection(socket_path(vault), hello(vault))
    assert other.ask(5.0, {"op": "barrier"}) == {"ok": True}
    other.close()
    assert not gone(pid)


def test_the_socket_is_its_user_s_alone(vault: Vault, pid: int) -> None:
    place = socket_path(vault)
    assert place.stat().st_mode & 0o077 == 0
    assert place.parent.stat().st_mode & 0o077 == 0


def test_protocol_is_in_the_hello(vault: Vault, pid: int) -> None:
    talk = Connection(socket_path(vault), hello(vault))
    assert (talk.other.protocol, talk.other.pid) == (PROTOCOL, pid)
    assert talk.other.root == str(vault.root)
    talk.close()


# What it does by itself


def test_it_commits_what_others_wrote(vault: Vault, pid: int) -> None:
    with AVM(vault.root, semantic="off") as avm:
        avm.agent_memory("akashi").remember("a thing", title="thing")
        wait_for(lambda: show(vault.root, "%an") == "akashi", "the keeper's commit")
    assert_clean(vault)


def test_closing_has_it_commit_at_once(vault: Vault) -> None:
    with keeper_of(vault.root, AVM_COMMIT_QUIET="1h"):
        with AVM(vault.root, semantic="off") as avm:
            avm.agent_memory("akashi").remember("a thing", title="thing")
        assert show(vault.root, "%an") == "akashi"
    assert_clean(vault)


def test_stopping_commits_what_waits(vault: Vault) -> None:
    with keeper_of(vault.root, AVM_COMMIT_QUIET="1h"):
        done = run_avm("--vault", str(vault.root), "remember", "a thing", "--agent", "akashi")
        assert done.returncode == 0
    assert show(vault.root, "%an") == "akashi"


def test_it_ends_when_nobody_asks(vault: Vault) -> None:
    started = run_avm("--vault", str(vault.root), "keeper", "start", AVM_KEEPER_IDLE="1s")
    assert started.returncode == 0
    wait_for(lambda: not is_taken(vault), "the end of an idle keeper")
    assert not socket_path(vault).exists()


def test_it_ends_with_its_vault(vault: Vault, tmp_path: Path) -> None:
    def removed() -> bool:
        """What the keeper writes meanwhile keeps a folder: then once more."""
        shutil.rmtree(vault.root, ignore_errors=True)
        return not vault.root.exists()

    moves = (lambda: vault.root.rename(tmp_path / "w"), lambda: wait_for(removed, "no vault"))
    for leave in moves:
        started = run_avm("--vault", str(vault.root), "keeper", "start", "--json")
        assert started.returncode == 0, started.stderr
        pid = int(json.loads(started.stdout)["pid"])
        wait_for(lambda: (status(vault) or {}).get("watched"), "the first look")
        leave()
        wait_for(lambda pid=pid: gone(pid), "the end of a keeper whose vault is gone")
        if (tmp_path / "w").exists():
            (tmp_path / "w").rename(vault.root)


def test_it_starts_on_demand_and_again_after_a_kill(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_KEEPER_AUTOSTART", "true")
    monkeypatch.setenv("AVM_SEMANTIC", "auto")
    with AVM(vault.root) as avm:
        avm.search("common")
        wait_for(avm.store.keeper.barrier, "a keeper")
        first = status(vault)["pid"]  # type: ignore[index]
        os.kill(first, signal.SIGKILL)  # type: ignore[arg-type]
        vault.path("memory/shared/n.md").write_text("afterwards")
        assert len(avm.search("afterwards")) == 1
        wait_for(lambda: avm.search("afterwards") and avm.store.keeper.barrier(), "another keeper")
        assert status(vault)["pid"] != first  # type: ignore[index]
    assert run_avm("--vault", str(vault.root), "keeper", "stop").stdout == "stopped\n"
    assert [started.wait(10) is not None for started in api_keeper._started]


def test_with_semantic_off_a_library_starts_none(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_KEEPER_AUTOSTART", "true")
    with AVM(vault.root, semantic="off") as avm:
        avm.search("common")
        assert not avm.store.keeper._coming
    done = run_avm("--vault", str(vault.root), "search", "common")
    assert done.returncode == 0 and not is_taken(vault)


def test_an_abler_one_takes_over_once_semantic_search_is_on(
    vault: Vault, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not semantic_installed():
        pytest.skip("the extra `semantic` is not installed")
    monkeypatch.setenv("AVM_KEEPER_AUTOSTART", "true")
    monkeypatch.setenv("AVM_SEMANTIC", "auto")
    with AVM(vault.root) as avm:
        avm.search("common")
        wait_for(lambda: (status(vault) or {}).get("pid", pid) != pid, "another keeper", 30)
    # the role is given back first, the process ends a moment later
    wait_for(lambda: gone(pid), "the end of the old one")


def test_an_index_that_goes_under_it_is_made_again(vault: Vault, pid: int) -> None:
    with open_avm(vault.root, {"semantic": "off"}, Waiting.COMMAND) as avm:
        for _ in range(3):
            shutil.rmtree(vault.index_dir)
            assert len(avm.search("common")) == 1
            assert avm.store.keeper.ask("barrier", timeout=30.0) == {"ok": True}
            assert len(avm.search("common")) == 1
        assert avm.store.index.check() == []


def test_many_ask_at_once(vault: Vault, pid: int) -> None:
    wrong: list[int] = []

    def work(worker: int) -> None:
        with open_avm(vault.root, {"semantic": "off"}, Waiting.COMMAND) as avm:
            for number in range(20):
                word = f"w{worker}n{number}"
                vault.path(f"memory/shared/{worker}.md").write_text(word)
                if len(avm.search(word)) != 1:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_status_is_told_with_and_without_one(vault: Vault) -> None:
    done = run_avm("--vault", str(vault.root), "keeper", "status")
    assert done.returncode == 1 and done.stdout.startswith("no keeper runs")
    with keeper_of(vault.root) as pid:
        wait_for(lambda: status(vault)["watched"], "the first look")  # type: ignore[index]
        done = run_avm("--vault", str(vault.root), "keeper", "status")
        assert done.returncode == 0 and f"process {pid}," in done.stdout
        assert "watches  " in done.stdout
    assert run_avm("--vault", str(vault.root), "keeper", "stop").stdout == "no keeper runs\n"


def test_head_that_moves_is_seen(vault: Vault, pid: int) -> None:
    with open_avm(vault.root, {"semantic": "off"}, Waiting.COMMAND) as avm:
        vault.path("memory/shared/old.md").write_text("---\ntitle: Old\n---\nold\n")
        git(vault.root, "add", ".")
        git(vault.root, "commit", "-qm", "Old", "--date", "1500000000 +0000")
        assert avm.store.keeper.ask("barrier", timeout=30.0) == {"ok": True}
        row = avm.store.index.memory("memory/shared/old.md")
        assert row is not None and row.changed == 1500000000.0


# What doctor says of it


def test_doctor_tells_of_a_keeper_that_cannot_be_asked(
    vault: Vault, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = [one for one in CHECKS if one.name == "keeper"]
    with open_avm(vault.root, {}, Waiting.COMMAND) as avm:
        assert doctor.check(avm, check) == []
    from avm.index import database

    monkeypatch.setattr(database, "SCHEMA", database.SCHEMA + 1)
    with open_avm(vault.root, {}, Waiting.COMMAND) as avm:
        (finding,) = doctor.check(avm, check)
        assert finding.note and f"process {pid}" in finding.what
