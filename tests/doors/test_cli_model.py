"""`avm model` as typed, and that nothing else uses the network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import run_avm

from avm.base.errors import ModelError
from avm.embed.model_folder import OFFICIAL_SUMS, find_model_folder, semantic_installed


def _folder() -> Path | None:
    try:
        return find_model_folder(None, None)
    except ModelError:
        return None


FOLDER = _folder()
needs_model = pytest.mark.skipif(
    FOLDER is None or not semantic_installed(), reason="the model or its libraries are not there"
)


@needs_model
def test_status_finds_the_model_and_makes_no_vault(tmp_path: Path) -> None:
    done = run_avm("model", "status", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(FOLDER) in done.stdout and "the official ones" in done.stdout
    assert "embedded" not in done.stdout
    assert not (Path(os.environ["HOME"]) / "avm").exists()


@needs_model
def test_status_tells_of_the_vault(tmp_path: Path) -> None:
    run_avm("init", str(tmp_path / "v"))
    run_avm("remember", "something", cwd=tmp_path / "v")
    done = run_avm("model", "status", "--json", cwd=tmp_path / "v")
    told = json.loads(done.stdout)
    assert (told["embedded"], told["passages"], told["problem"]) == (0, 1, None)


def test_a_wrong_folder_is_a_problem(tmp_path: Path) -> None:
    done = run_avm("model", "status", cwd=tmp_path, AVM_MODEL=str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path} is no all-MiniLM-L6-v2 folder" in done.stdout
    done = run_avm("model", "add", str(tmp_path))
    assert done.returncode == ModelError.exit_code
    assert done.stderr == f"avm: {tmp_path}/1_Pooling/config.json is missing\n"


@needs_model
def test_an_added_model_is_found_first(tmp_path: Path) -> None:
    assert run_avm("model", "add", str(FOLDER)).returncode == 0
    home = Path(os.environ["HOME"])
    (place,) = home.rglob("all-MiniLM-L6-v2")
    assert {str(p.relative_to(place)) for p in place.rglob("*.*") if p.is_file()} >= set(
        OFFICIAL_SUMS
    )
    assert str(place) in run_avm("model", "status", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch"], "avm model fetch: use one of status, download, add"),
        (["add"], "avm model add FOLDER"),
        (["status", "x"], "avm model status: no FOLDER"),
    ],
)
def test_a_slip_is_one_line(words: list[str], said: str) -> None:
    done = run_avm("model", *words)
    assert (done.returncode, done.stderr) == (2, f"avm: {said}\n")


def test_the_hub_s_own_variables_are_respected() -> None:
    done = run_avm("model", "download", HF_HUB_OFFLINE="1")
    assert done.returncode == ModelError.exit_code
    assert done.stderr == (
        "avm: HF_HUB_OFFLINE forbids the network: unset it to download the model\n"
    )
    done = run_avm("model", "download", HF_HUB_OFFLINE="", HF_ENDPOINT="http://127.0.0.1:9/")
    assert done.returncode == ModelError.exit_code
    assert done.stderr.startswith("avm: http://127.0.0.1:9/sentence-transformers/all-MiniLM-L6-v2/")
    assert done.stderr.count("\n") == 1


#: Runs in every Python program that is started with it on the path, the model's too.
WATCH = """
import os, sys
def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        what = repr(args)
    elif event in ("socket.connect", "socket.bind", "socket.sendto") and args[0].family != 1:
        what = repr(args[1:])
    else:
        return
    with open(os.environ["WATCHED"], "a") as file:
        file.write(f"{event} {what} {sys.argv}\\n")
sys.addaudithook(hook)
with open(os.environ["WATCHED"] + ".ran", "a") as file:
    file.write(f"{sys.orig_argv}\\n")
"""


@needs_model
def test_no_other_command_uses_the_network(tmp_path: Path) -> None:
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    vault, watched = tmp_path / "v", tmp_path / "watched"
    known = os.pathsep.join(filter(None, [str(tmp_path / "watch"), os.environ.get("PYTHONPATH")]))
    env = {"PYTHONPATH": known, "WATCHED": str(watched), "HF_HUB_OFFLINE": ""}
    for words in (
        ["init", str(vault)],
        ["remember", "--vault", str(vault), "The wheel of the bike is punctured"],
        ["index", "--vault", str(vault), "--wait"],
        ["recall", "--vault", str(vault), "--semantic", "flat tyre"],
        ["search", "--vault", str(vault), "bike"],
        ["model", "--vault", str(vault), "status"],
        ["status", "--vault", str(vault)],
        ["doctor", "--vault", str(vault)],
    ):
        done = run_avm(*words, cwd=tmp_path, **env)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        if words[0] == "recall":
            assert "text+vectors" in done.stdout
    assert not watched.exists(), watched.read_text()
    assert "avm.embed.worker" in Path(f"{watched}.ran").read_text(), "the model was not watched"
    # That the watch sees something at all:
    run_avm("model", "download", HF_ENDPOINT="http://127.0.0.1:9", **env)
    assert "127.0.0.1" in watched.read_text()
