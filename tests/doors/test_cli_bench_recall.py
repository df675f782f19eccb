"""`avm bench recall`, for real on two short conversations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import git, needs_model, run_avm
from conversation_data import tiny

from avm.base import memory_file

NO_MODEL = {"AVM_MODEL": "/nowhere"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data file."""
    file = tmp_path / "data.json"
    file.write_text(json.dumps(tiny()))
    return file


def bench(data: Path, *words: str, **env: str) -> dict[str, Any]:
    done = run_avm("bench", "recall", "--data", str(data), "--json", *words, **env)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_what_it_measures_by_category(data: Path) -> None:
    told = bench(data, "--semantic", "off", "--budgets", "300,12")
    assert set(told["machine"]) >= {"date", "cores", "load"}
    assert told["conversations"] == 2 and told["budgets"] == [300, 12]
    turns, sessions = told["runs"]
    assert (turns["name"], turns["memories"], turns["passages"]) == ("turns, text", 5, 5)
    assert (sessions["name"], sessions["memories"]) == ("sessions, text", 3)
    for run, multi in ((turns, 0.5), (sessions, 0.5)):
        groups = run["categories"]
        counts = {name: group["questions"] for name, group in groups.items()}
        assert counts == {"all": 4, "1 multi-hop": 1, "4 single-hop": 3}
        # One of two turns is found; two of three turns are.
        for measure in ("B@300", "R@1", "R@10"):
            assert groups["1 multi-hop"][measure] == multi
            assert groups["4 single-hop"][measure] == pytest.approx(2 / 3)
            assert groups["all"][measure] == pytest.approx((multi + 2) / 4)
        assert groups["4 single-hop"]["MRR"] == pytest.approx(2 / 3)
        # Of two memories that hold evidence one is found, first: 1 / (1 + 1/log2 3).
        assert groups["1 multi-hop"]["nDCG@10"] == pytest.approx(0.61315, abs=1e-5)
        assert groups["all"]["B@12"] == 0
        assert 0 < groups["all"]["tokens@12"] <= 12 < groups["all"]["tokens@300"] <= 300
        assert 0 < groups["all"]["p50@300"] <= groups["all"]["p95@300"]


def test_the_vaults_are_kept_as_made_and_made_anew_for_other_data(
    data: Path, tmp_path: Path
) -> None:
    keep = tmp_path / "kept"
    words = ("--semantic", "off", "--keep", str(keep))
    first = bench(data, *words)
    vault = keep / "turns-one" / "vault"
    places = sorted(str(place.relative_to(vault)) for place in (vault / "memory").rglob("*.md"))
    shared = "memory/shared"
    assert places == [f"{shared}/session-{n:02}/{turn:03}.md" for n in (1, 2) for turn in (1, 2)]
    raw = (vault / places[2]).read_bytes()
    memory = memory_file.parse(raw)
    assert memory.body == "Ada: Look at this harvest of radishes!\n"
    assert str(memory.front.created) == "2023-06-01 09:00:00+00:00"
    assert git(vault, "log", "-1", "--format=%aI", "--", places[2]) == "2023-06-01T09:00:00+00:00"
    assert git(vault, "status", "--porcelain") == ""
    session = (keep / "sessions-one/vault" / shared / "session-01.md").read_text()
    assert session.endswith("Ada: I planted tomatoes today.\n\nBen: My bicycle has a puncture.\n")

    made = (vault / places[0]).stat().st_ino
    again = bench(data, *words, "--layout", "turns")
    assert (vault / places[0]).stat().st_ino == made
    assert _without_times(again) == _without_times({"runs": first["runs"][:1]})

    other = tiny()
    other["conversations"][0]["sessions"][0]["turns"][0]["text"] = "I planted leek."
    data.write_text(json.dumps(other))
    changed = bench(data, *words, "--layout", "turns")
    assert (vault / places[0]).read_text().endswith("\nAda: I planted leek.\n")
    assert changed["runs"][0]["categories"]["1 multi-hop"]["R@10"] == 0


def _without_times(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in group.items() if name[0] != "p"}
        for run in told["runs"]
        for group in run["categories"].values()
    ]


def test_the_table(data: Path) -> None:
    words = ("bench", "recall", "--data", str(data), "--semantic", "off", "--markdown")
    done = run_avm(*words, "--budgets", "300")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "| questions | n | measure | turns, text | sessions, text |" in lines
    assert "| all | 4 | B@300 | 0.625 | 0.625 |" in lines
    assert sum("| B@300 |" in line for line in lines) == 3
    assert sum("| tokens@300 |" in line for line in lines) == 1
    assert "- turns: 5 memories, 5 passages, 2 vaults" in lines


def test_without_a_model_it_measures_text(data: Path) -> None:
    told = bench(data, "--layout", "turns", **NO_MODEL)
    assert [run["name"] for run in told["runs"]] == ["turns, text"]
    (note,) = told["notes"]
    assert note.startswith("turns: no figures with vectors: ")
    words = ("bench", "recall", "--data", str(data), "--semantic", "on")
    done = run_avm(*words, **NO_MODEL)
    assert done.returncode == 11
    assert done.stderr.count("\n") == 1


@needs_model
def test_with_vectors_a_question_of_other_words_is_answered(data: Path, tmp_path: Path) -> None:
    value = tiny()
    asked = {"question": "How do I fix a flat tyre?", "category": 3, "evidence": ["D1:2"]}
    value["conversations"][0]["qa"].append(asked)
    data.write_text(json.dumps(value))
    words = ("--layout", "turns", "--keep", str(tmp_path / "kept"))
    told = bench(data, *words)
    text, vectors = told["runs"]
    assert (text["semantic"], vectors["semantic"]) == (False, True)
    assert text["categories"]["3 open-domain"]["R@1"] == 0
    assert vectors["categories"]["3 open-domain"]["R@1"] == 1
    assert 0 < told["embedding"]["p50"] <= told["embedding"]["p95"]
    stored = [file.stat().st_mtime_ns for file in _vectors(tmp_path)]
    assert len(stored) == 2
    again = bench(data, *words)
    assert _without_times(again) == _without_times(told)
    assert again["embedding"] == {}
    assert [file.stat().st_mtime_ns for file in _vectors(tmp_path)] == stored


def _vectors(folder: Path) -> list[Path]:
    return sorted((folder / "kept").rglob("vectors-*.f32"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budgets", "500,few"), "budget 'few': give numbers such as 500,1000,2000"),
        (("--data", "none.json"), "cannot read none.json: No such file or directory"),
    ],
)
def test_what_it_is_given_wrong(data: Path, words: tuple[str, ...], said: str) -> None:
    done = run_avm("bench", "recall", "--data", str(data), *words)
    assert (done.returncode, done.stderr) == (2, f"avm: {said}\n")
