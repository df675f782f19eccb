"""The keeper syncs by itself, says how it went, lets nobody wait for it, and asks nobody."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import git, gone, keeper_of, run_avm, wait_for
from vault_helpers import assert_clean, head, put, show

from avm import AVM
from avm.api import keeper as api_keeper
from avm.api import open_avm, syncing
from avm.api.keeper import hello
from avm.api.waiting import Waiting
from avm.keeper import syncing as keeper_syncing
from avm.keeper.keeper import Keeper
from avm.keeper.syncing import AutoSync
from avm.vault import cloning, locks
from avm.vault.location import Vault
from avm.vault.remote import without_secret
from avm.vault.sync import SyncAtWork, known_remotes, last_sync, note_known

SOON = {"AVM_SYNC_EVERY": "1s", "AVM_SYNC_ON_COMMIT": "true", "AVM_COMMIT_QUIET": "0.1s"}


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """An empty bare repository."""
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    return tmp_path / "remote.git"


@pytest.fixture
def vault(tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """A vault of one memory that was synced with `remote`."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    with AVM(tmp_path / "a", semantic="off") as avm:
        git(avm.store.vault.root, "remote", "add", "origin", str(remote))
        avm.remember("The first common word.", title="first")
        avm.sync()
    return avm.store.vault


@pytest.fixture
def other(tmp_path: Path, vault: Vault, remote: Path) -> Vault:
    """A clone of it."""
    return cloning.clone(str(remote), tmp_path / "b", None)[0]


def status(vault: Vault) -> dict[str, Any]:
    """What `avm status` says."""
    done = run_avm("--vault", str(vault.root), "status", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def keeper_status(vault: Vault) -> dict[str, Any]:
    """What the keeper says of itself."""
    with open_avm(vault.root, {}, Waiting.COMMAND) as avm:
        return avm.store.keeper.ask("status", timeout=10.0) or {}


class Syncing:
    """An AutoSync as the keeper has it, but for its thread."""

    def __init__(self, vault: Vault, **settings: Any) -> None:
        self.changes = 0
        settings = {"semantic": "off", "sync.every": "60s", **settings}
        self.avm = open_avm(vault.root, settings, Waiting.KEEPER)
        self.sync = AutoSync(self.avm.store, tuple, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def __call__(self) -> dict[str, Any]:
        """Sync once."""
        self.sync._sync()
        return self.sync.told() or {}


@pytest.fixture
def syncing_of(request: pytest.FixtureRequest) -> Iterator[type[Syncing]]:
    """Makes one, and closes its vault in the end."""
    made: list[Syncing] = []

    class Closed(Syncing):
        def __init__(self, vault: Vault, **settings: Any) -> None:
            super().__init__(vault, **settings)
            made.append(self)

    yield Closed
    for one in made:
        one.avm.close()


# Two machines, no command


def test_what_one_commits_is_in_the_other_s_vault(vault: Vault, other: Vault) -> None:
    with keeper_of(vault.root, **SOON), keeper_of(other.root, **SOON):
        there = other.path("memory/private/akashi/thing.md")
        done = run_avm("--vault", str(vault.root), "remember", "--agent", "akashi",
                       "--title", "thing", "a thing of akashi")  # fmt: skip
        assert done.returncode == 0
        wait_for(there.exists, "akashi's memory in the clone", 60)
        done = run_avm("--vault", str(other.root), "search", "akashi")
        assert "thing.md" in done.stdout
        # A commit of another program's counts as well.
        put(other, "memory/shared/note.md", "a note\n")
        git(other.root, "add", ".")
        git(other.root, "commit", "-qm", "A note")
        wait_for(vault.path("memory/shared/note.md").exists, "the note in the first vault", 60)
        wait_for(lambda: head(vault.root) == head(other.root), "both to agree", 60)
    assert_clean(vault)
    assert_clean(other)


def test_without_a_period_a_commit_is_sent(vault: Vault, remote: Path) -> None:
    with keeper_of(vault.root, AVM_SYNC_ON_COMMIT="true", AVM_COMMIT_QUIET="0.1s"):
        wait_for(lambda: keeper_status(vault)["sync"]["next"] is None, "the first sync", 60)
        run_avm("--vault", str(vault.root), "remember", "--agent", "akashi", "a thing")
        wait_for(lambda: show(remote, "%an", "main") == "akashi", "the commit at the remote", 60)
        wait_for(lambda: keeper_status(vault)["sync"]["next"] is None, "its end", 60)


def test_offline_it_says_so_and_goes_on_when_the_remote_is_back(
    vault: Vault, remote: Path, tmp_path: Path
) -> None:
    with keeper_of(vault.root, **SOON):
        remote.rename(tmp_path / "away")
        wait_for(lambda: (status(vault)["sync"])["error"], "the error", 60)
        told = status(vault)["sync"]
        assert told["error"].startswith("cannot fetch from origin: ")
        assert told["at"] and told["failed_at"] > told["at"]
        text = run_avm("cat", ":status", AVM_VAULT=str(vault.root)).stdout
        assert "sync     origin, last 20" in text and "failed 20" in text
        assert "; again in" in run_avm("--vault", str(vault.root), "keeper", "status").stdout
        run_avm("--vault", str(vault.root), "remember", "--agent", "akashi", "offline")
        wait_for(lambda: show(vault.root, "%an") == "akashi", "the commit")
        (tmp_path / "away").rename(remote)
        wait_for(lambda: show(remote, "%an", "main") == "akashi", "the commit at the remote", 60)
        wait_for(lambda: status(vault)["sync"]["error"] is None, "no error")
    log = (vault.state_dir / "keeper.log").read_text()
    assert log.count("cannot fetch") == 1


def test_a_remote_that_never_answers_does_not_keep_the_keeper(vault: Vault) -> None:
    before = last_sync(vault)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        address = f"git://127.0.0.1:{listening.getsockname()[1]}/x"
        git(vault.root, "remote", "set-url", "origin", address)
        with keeper_of(vault.root, AVM_SYNC_EVERY="1s") as pid:
            connection, _ = listening.accept()
            with connection:
                assert keeper_status(vault)["sync"]["at_work"]
                assert run_avm("--vault", str(vault.root), "keeper", "stop").returncode == 0
                wait_for(lambda: gone(pid), "its end")
                connection.settimeout(10)
                while connection.recv(4096):  # git is gone too
                    pass
    # It was ended, it has not failed.
    assert last_sync(vault) == before
    assert "cannot" not in (vault.state_dir / "keeper.log").read_text()


def test_a_library_starts_a_keeper_that_is_to_sync(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_KEEPER_AUTOSTART", "true")
    monkeypatch.setenv("AVM_SYNC_EVERY", "60s")
    before = last_sync(vault)
    with AVM(vault.root, semantic="off") as avm:
        avm.search("common")
        wait_for(lambda: last_sync(vault) != before, "the keeper's first sync", 60)
    assert run_avm("--vault", str(vault.root), "keeper", "stop").stdout == "stopped\n"
    assert [started.wait(10) is not None for started in api_keeper._started]


# One sync


def test_it_commits_nothing_that_has_not_rested(vault: Vault, syncing_of: type[Syncing]) -> None:
    sync = syncing_of(vault)
    put(vault, "memory/shared/draft.md", "half a sent")
    before = head(vault.root)
    assert sync()["problem"] is None
    assert head(vault.root) == before
    assert git(vault.root, "status", "--porcelain") == "?? memory/shared/draft.md"


def test_what_is_in_the_way_is_told_and_stays(
    vault: Vault, other: Vault, syncing_of: type[Syncing]
) -> None:
    with AVM(other.root, semantic="off") as avm:
        put(other, "memory/shared/first.md", "theirs\n")
        avm.sync()
    mine = put(vault, "memory/shared/first.md", "mine\n")
    sync = syncing_of(vault)
    told = sync()
    assert told["problem"].startswith("nothing was moved: ") and sync.changes == 0
    assert 50 < told["next"] <= 60 and mine.read_text() == "mine\n"
    with AVM(vault.root, semantic="off") as avm:
        assert avm.status().sync.error == told["problem"]  # type: ignore[union-attr]
        avm.commit()
    assert sync()["problem"] is None and sync.changes == 1
    assert list(sync.avm.conflicts()) == ["/memory/shared/first.md"]


def test_histories_that_have_nothing_in_common_are_left_apart(
    vault: Vault, tmp_path: Path, syncing_of: type[Syncing]
) -> None:
    with AVM(tmp_path / "c", semantic="off") as avm:
        stranger = avm.store.vault
    git(stranger.root, "commit", "-q", "--amend", "-m", "Another start")  # of the same second
    url = git(vault.root, "remote", "get-url", "origin")
    git(stranger.root, "remote", "add", "origin", url)
    sync = syncing_of(stranger)
    assert "no commit in common" in sync()["problem"]
    assert 50 < (sync.sync.told() or {})["next"] <= 60


def test_one_line_says_who_can_read_it_once(
    vault: Vault, tmp_path: Path, syncing_of: type[Syncing], caplog: pytest.LogCaptureFixture
) -> None:
    git(tmp_path, "init", "-q", "--bare", "second.git")
    git(vault.root, "remote", "add", "second", str(tmp_path / "second.git"))
    sync = syncing_of(vault, **{"sync.remote": "second"})
    assert sync()["problem"] is None
    assert sync()["problem"] is None
    assert caplog.text.count("keep two vaults") == 1
    assert str(tmp_path / "second.git") in known_remotes(vault)
    caplog.clear()


def test_where_another_sync_is_at_work_nothing_is_wrong(
    vault: Vault, syncing_of: type[Syncing]
) -> None:
    note_known(vault, git(vault.root, "remote", "get-url", "origin"))
    lock = locks.try_lock(vault.git_state / "sync.lock")
    assert lock is not None
    told = syncing_of(vault)()
    lock.release()
    assert told["problem"] is None and told["next"] <= 2


def test_what_was_committed_during_a_sync_is_sent_by_the_next(
    vault: Vault, syncing_of: type[Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = syncing_of(vault, **{"sync.every": None, "sync.on_commit": True})
    assert sync()["next"] is None
    really = sync.sync._syncer.sync

    def interrupted(*args: Any) -> Any:
        report = really(*args)
        git(vault.root, "commit", "-q", "--allow-empty", "-m", "Meanwhile")
        return report

    monkeypatch.setattr(sync.sync._syncer, "sync", interrupted)
    assert sync()["next"] is not None
    monkeypatch.undo()
    assert sync()["next"] is None


def test_nobody_is_asked_for_a_password(
    vault: Vault, syncing_of: type[Syncing], caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/x"
            git(vault.root, "remote", "set-url", "origin", url)
            told = syncing_of(vault)()
        finally:
            server.shutdown()
            serving.join()
    assert "cannot fetch from origin: " in told["problem"]
    caplog.clear()


def test_what_gets_nowhere_is_given_up(
    vault: Vault, syncing_of: type[Syncing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_syncing, "_LONGEST_SYNC_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"git://127.0.0.1:{listening.getsockname()[1]}/x"
        git(vault.root, "remote", "set-url", "origin", address)
        sync = syncing_of(vault)
        told = sync()
        assert told["problem"] == "no answer for 0 minutes" and 0 < told["next"] <= 5
        shown = sync.avm.synced({"sync": told})
    assert shown is not None and shown.failed_at is not None
    assert shown.error == told["problem"] and shown.at is not None


# How long it stays


def test_a_keeper_that_syncs_stays_and_one_without_a_remote_does_not(
    vault: Vault, syncing_of: type[Syncing]
) -> None:
    assert syncing_of(vault).sync.is_needed
    now_and_then = syncing_of(vault, **{"sync.every": None, "sync.on_commit": True})
    assert now_and_then.sync.is_needed  # what was committed before it began
    now_and_then()
    assert not now_and_then.sync.is_needed
    off = syncing_of(vault, **{"sync.every": None})
    assert not off.sync.is_needed and off.sync.told() is None
    git(vault.root, "remote", "remove", "origin")
    alone = syncing_of(vault)
    assert "no remote to sync with" in alone()["problem"]
    assert not alone.sync.is_needed


def test_idle_ends_a_keeper_only_if_it_has_nothing_to_sync(
    vault: Vault, syncing_of: type[Syncing]
) -> None:
    for every, stays in (("60s", True), (None, False)):
        store = syncing_of(vault, **{"sync.every": every}).avm.store
        keeper = Keeper(store, hello(vault))
        keeper._lock_inode = None  # nobody has the role here
        keeper._rounds = keeper._sequencer.asked_rounds
        keeper._active_at = keeper._server.asked_at = time.monotonic() - 1000
        keeper._idle_seconds = 500
        try:
            assert keeper._tick() is stays
        finally:
            keeper._server.close()
            keeper._watcher.close()


# Beside a command, and what status tells


def test_a_command_waits_for_a_sync_that_is_under_way(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = locks.try_lock(vault.git_state / "sync.lock")
    assert lock is not None
    waits = threading.Event()
    really = locks._wait

    def noted(place: Path | str, timeout: float) -> Any:
        waits.set()
        return really(place, timeout)

    monkeypatch.setattr(locks, "_wait", noted)
    with AVM(vault.root, semantic="off") as avm:
        reports: list[object] = []
        command = threading.Thread(target=lambda: reports.append(avm.sync()))
        command.start()
        assert waits.wait(60)
        assert reports == []
        lock.release()
        command.join(60)
        assert len(reports) == 1
        lock = locks.try_lock(vault.git_state / "sync.lock")
        assert lock is not None
        monkeypatch.setattr(syncing, "_PATIENCE_SECONDS", 0.05)
        with pytest.raises(SyncAtWork, match="another avm sync is at work"):
            avm.sync()
        lock.release()


def test_status_counts_what_is_here_and_there_alone(vault: Vault, other: Vault) -> None:
    with AVM(other.root, semantic="off") as avm:
        avm.remember("of the other", title="theirs")
        avm.sync()
    git(vault.root, "commit", "-q", "--allow-empty", "-m", "Mine")
    with AVM(vault.root, semantic="off") as avm:
        last = last_sync(vault)
        assert last is not None
        git(vault.root, "fetch", "-q", "origin", f"+refs/heads/main:{last.ref}")
        told = avm.status().sync
        assert told is not None
        assert (told.remote, told.ahead, told.behind, told.error) == ("origin", 1, 1, None)
        assert avm.agent_memory("akashi").status().sync is None


def test_a_vault_without_a_remote_says_nothing_of_one(vault: Vault) -> None:
    (vault.own_state / "sync.json").unlink()
    with AVM(vault.root, semantic="off") as avm:
        told = avm.status().sync
        assert told is not None and (told.remote, told.at) == ("origin", None)
    git(vault.root, "remote", "remove", "origin")
    with AVM(vault.root, semantic="off") as avm:
        assert avm.status().sync is None
    git(vault.root, "checkout", "-q", "--detach")
    with AVM(vault.root, semantic="off") as avm:
        assert avm.status().sync is None


def test_an_agent_hears_of_conflicts_that_it_may_read(vault: Vault) -> None:
    for folder in ("private/akashi", "private/bob", "shared"):
        put(vault, f"memory/{folder}/rule.md", "one\n")
        put(vault, f"memory/{folder}/rule.conflict-01234567.md", "two\n")
    with AVM(vault.root, semantic="off") as avm:
        assert len(avm.status().conflicts) == 3
        seen = avm.agent_memory("bob").status()
        assert seen.conflicts == ("/memory/private/bob/rule.md", "/memory/shared/rule.md")


def test_addresses_are_told_without_what_is_secret_in_them() -> None:
    for url, told in {
        f"https://pat:{'x' * 9}@example.org/a@b.git": "https://example.org/a@b.git",
        "https://example.org/x": "https://example.org/x",
        "git@example.org:x.git": "git@example.org:x.git",
        "ssh://git@example.org/x": "ssh://git@example.org/x",
        "/srv/x.git": "/srv/x.git",
        "origin": "origin",
    }.items():
        assert without_secret(url) == told
