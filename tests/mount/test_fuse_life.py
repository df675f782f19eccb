"""How real mounts begin, fail, go stale and end; served by processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avm.base.errors import MountError
from avm.fuse import background, mounts, registry
from avm.fuse.mount import prepare
from avm.fuse.platform import here
from mount.test_fuse_site import (
    BINDINGS,
    PREFERRED,
    SERVER,
    START_SECONDS,
    Site,
    clean_up,
    helpers,
    new_site,
    wait_for,
)

if not os.path.exists("/dev/fuse"):
    pytest.skip("no /dev/fuse", allow_module_level=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = new_site(tmp_path, PREFERRED)
    yield site
    clean_up(site)


@pytest.fixture(params=BINDINGS, ids="/libfuse".join)
def each_site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    site = new_site(tmp_path, request.param)
    yield site
    clean_up(site)


def test_start_and_unmount(each_site: Site) -> None:
    site = each_site
    pid = site.start()
    (entry,) = registry.read_all(site.registry)
    assert (entry.mountpoint, entry.vault, entry.pid) == (site.mount, site.vault, pid)
    assert mounts.MountEntry(site.mount, False) in mounts.find_mounts()
    assert os.getsid(pid) == pid
    for fd in ("0", "1", "2"):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") in ("/dev/null", str(site.log))
    alias = site.folder / "alias"
    alias.symlink_to(site.mount)
    assert mounts.find_mount(alias) == mounts.MountEntry(site.mount, False)
    with pytest.raises(MountError, match="is mounted already"):
        prepare(alias, site.vault)
    with pytest.raises(MountError, match="is mounted already"):
        site.start()
    assert mounts.unmount(alias, registry_dir=site.registry) == f"unmounted {alias}"
    assert here.process_token(pid) is None and site.closings == 1
    assert registry.read_all(site.registry) == [] and list(site.registry.iterdir()) == []
    site.start()
    site.unmount()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_good_order(each_site: Site, number: signal.Signals) -> None:
    process = each_site.foreground()
    try:
        os.stat(each_site.mount)
        process.send_signal(number)
        assert process.wait(10) == 0, each_site.log.read_text()
    finally:
        process.kill()
        process.wait()
    assert not each_site.mounted() and each_site.closings == 1


def test_unmounted_by_somebody_else(each_site: Site) -> None:
    process = each_site.foreground()
    try:
        subprocess.run(here.unmount_command(str(each_site.mount), force=False), check=True)
        assert process.wait(10) == 0, each_site.log.read_text()
    finally:
        process.kill()
        process.wait()
    assert each_site.closings == 1


def test_a_start_that_fails_says_why(each_site: Site) -> None:
    site = each_site
    cases = {
        ("--failing", "start"): "no such agent",
        ("--failing", "ready"): "the registry is full",
        ("--option", "no_such_option"): r"unknown option.*another libfuse",
    }
    for arguments, words in cases.items():
        with pytest.raises(MountError, match=words) as caught:
            site.start(*arguments)
        assert "\n" not in str(caught.value)
        assert not site.mounted()
    # Only the tree of the first case was never made.
    assert site.closings == 2
    with pytest.raises(MountError, match="cannot start /no/such/program"):
        background.start(["/no/such/program"], site.mount, site.log, 5)
    site.start()
    site.unmount()


def test_a_start_that_takes_too_long_is_ended(site: Site) -> None:
    with pytest.raises(MountError, match=r"did not answer in 0.7 s \(thinking"):
        site.start("--failing", "never", timeout=0.7)
    assert not site.mounted()
    wait_for(lambda: not helpers(site.mount), "the helper's end")


def test_a_daemon_holds_no_pipe_of_its_starter(site: Site) -> None:
    program = (
        "import sys; from pathlib import Path; from avm.fuse import background\n"
        "m, log, *command = sys.argv[1:]\n"
        "print(background.start(command, Path(m), Path(log), 20))\n"
    )
    arguments = [str(site.mount), str(site.log), *site.command()]
    with site.environment():
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    assert site.mounted() and done.stderr == ""
    assert site.unmount() == f"unmounted {site.mount}"
    assert here.process_token(int(done.stdout)) is None


def kill(site: Site, pid: int) -> None:
    """Leave a stale mount: the helper goes first, or it would unmount."""
    for helper in helpers(site.mount):
        os.kill(helper, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: here.process_token(pid) is None, "the server's death")


def test_a_stale_mount_is_seen_and_repaired(each_site: Site) -> None:
    site = each_site
    kill(site, site.start())
    wait_for(lambda: mounts.is_stale(site.mount), "a stale mount")
    assert mounts.MountEntry(site.mount, True) in mounts.find_mounts()
    (entry,) = registry.read_all(site.registry)
    assert entry.stale
    site.start()
    (entry,) = registry.read_all(site.registry)
    assert not entry.stale and (site.mount / "source.txt").read_text() == "hello\n"
    site.unmount()


def test_a_busy_stale_mount_is_repaired(site: Site) -> None:
    pid = site.start()
    holder = subprocess.Popen(["sleep", "60"], cwd=site.mount)
    try:
        kill(site, pid)
        assert mounts.repair(site.mount)
        assert not site.mounted() and not mounts.repair(site.mount)
    finally:
        holder.kill()
        holder.wait()


def test_a_stale_mount_can_be_unmounted(site: Site) -> None:
    kill(site, site.start())
    assert site.unmount() == f"unmounted {site.mount}"
    assert registry.read_all(site.registry) == []


def test_after_kill_9_the_helper_unmounts(site: Site) -> None:
    os.kill(site.start(), signal.SIGKILL)
    wait_for(lambda: not site.mounted(), "the helper's unmount")
    site.start()
    os.kill(registry.read_all(site.registry)[0].pid, signal.SIGKILL)
    site.start()
    assert (site.mount / "source.txt").read_text() == "hello\n"
    site.unmount()


def test_a_busy_mount_is_detached(each_site: Site) -> None:
    site = each_site
    pid = site.start()
    holder = subprocess.Popen(["sleep", "60"], cwd=site.mount)
    try:
        line = site.unmount()
        assert "in use by sleep" in line and f"(pid {holder.pid})" in line
        assert f"its server (pid {pid}) ends when they let go" in line
        assert not site.mounted() and registry.read_all(site.registry) == []
        # A second server at the same place is not the first one's helper's business.
        second = site.start()
        assert here.process_token(pid) is not None
    finally:
        holder.kill()
        holder.wait()
    wait_for(lambda: here.process_token(pid) is None, "the first server's end")
    wait_for(lambda: len(helpers(site.mount)) == 1, "the first helper's end")
    assert (site.mount / "source.txt").read_text() == "hello\n"
    (entry,) = registry.read_all(site.registry)
    assert entry.pid == second
    assert site.unmount() == f"unmounted {site.mount}" and site.closings == 2


def test_a_mount_over_the_vault_is_refused(site: Site) -> None:
    for place in (site.vault, site.vault / "inside", site.folder):
        command = [sys.executable, str(SERVER), str(site.vault), str(place)]
        with site.environment(), pytest.raises(MountError, match="vault"):
            background.start(command, place, site.log, START_SECONDS)
