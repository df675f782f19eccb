"""Where the model is looked for, in which order, and what a wrong folder says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avm.base.errors import ModelError
from avm.embed import model_folder
from avm.embed.model_folder import OFFICIAL_SUMS, check_sums, find_model_folder

HUB_NAME = "models--sentence-transformers--all-MiniLM-L6-v2"


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder, "_PACKAGE", "avm_no_such_package")


def make_folder(folder: Path) -> Path:
    """A folder with all the names and none of the contents."""
    for name in OFFICIAL_SUMS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_a_named_folder_is_taken_or_refused(tmp_path: Path) -> None:
    named = make_folder(tmp_path / "named")
    hub = make_folder(tmp_path / "hub" / HUB_NAME / "snapshots" / "a").parents[2]
    assert find_model_folder(named, hub) == named
    (named / "tokenizer.json").unlink()
    with pytest.raises(ModelError) as caught:
        find_model_folder(named, hub)
    assert str(caught.value) == f"{named} is no all-MiniLM-L6-v2 folder: tokenizer.json is missing"
    with pytest.raises(ModelError, match="missing"):
        find_model_folder(tmp_path / "absent", hub)


@pytest.mark.usefixtures("no_package")
def test_the_hub_cache_gives_main_first_and_whole_snapshots_only(tmp_path: Path) -> None:
    base = tmp_path / HUB_NAME
    first = make_folder(base / "snapshots" / "aaa")
    main = make_folder(base / "snapshots" / "bbb")
    assert find_model_folder(None, tmp_path) == first
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("bbb\n")
    assert find_model_folder(None, tmp_path) == main
    (main / "model.safetensors").unlink()
    assert find_model_folder(None, tmp_path) == first


@pytest.mark.usefixtures("no_package")
@pytest.mark.parametrize("cache", ["absent", "empty", None])
def test_no_model_anywhere_says_how_to_get_it(tmp_path: Path, cache: str | None) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="is not on this machine: ") as caught:
        find_model_folder(None, tmp_path / cache if cache else None)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    with pytest.raises(ModelError, match="is not the official file") as caught:
        check_sums(folder)
    assert str(caught.value).startswith(str(folder / "1_Pooling" / "config.json"))
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        check_sums(folder)


def test_looking_imports_nothing_heavy() -> None:
    script = (
        "import sys, avm.embed.protocol, avm.embed.worker_client as w, avm.embed.model_folder as m;"
        "m.semantic_installed(); w.WorkerEmbedder(m.Path('/nowhere'));"
        "found = list(m._packaged());"
        "heavy = {'torch', 'numpy', 'sentence_transformers', 'transformers', m._PACKAGE};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
