"""Made-up memories: the same each time, and like real ones in what costs time."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from conftest import git

from avm.base import memory_file
from avm.bench.questions import Questions
from avm.bench.vault_maker import MOST_FILES, make_vault, memories
from avm.bench.words import vocabulary


def test_the_same_size_and_seed_are_the_same_bytes() -> None:
    first, again, other = (list(memories(50, seed)) for seed in (1, 1, 2))
    assert first == again
    assert [one.data for one in first] != [one.data for one in other]


def test_words_follow_zipf_s_law() -> None:
    text = " ".join(one.data.decode().lower() for one in memories(1_000))
    counts = Counter(re.findall(r"[a-z]+", text)).most_common()
    assert counts[0][0] == "the"
    total = sum(count for _, count in counts)
    assert 0.03 < counts[0][1] / total < 0.1  # English: 0.06
    assert 0.3 < sum(count for _, count in counts[:100]) / total < 0.65  # English: 0.5
    assert len(counts) > 6_000


def test_memories_vary_in_what_avm_reads_of_them() -> None:
    made = [one.data for one in memories(1_000)]
    files = [memory_file.parse(data) for data in made]
    assert not any(file.problems for file in files)
    fronts = [file.front for file in files]
    assert len({front.importance for front in fronts}) > 5
    assert len({tag for front in fronts for tag in front.tags}) > 50
    assert any(not file.split.has_front for file in files)
    assert any(front.expires for front in fronts)
    sizes = sorted(map(len, made))
    assert sizes[0] < 100 and sizes[-1] > 4_000
    text = b"".join(made).decode()
    assert all(mark in text for mark in ("[[", "#", "getUserName", "记忆", "メモリ", "기억", "## "))


def test_no_folder_is_full() -> None:
    folders = Counter(one.rel.rpartition("/")[0] for one in memories(3_000))
    assert max(folders.values()) <= MOST_FILES
    assert len(folders) == 10


def test_a_vault_is_committed_as_it_is_on_disk(tmp_path: Path) -> None:
    vault = make_vault(tmp_path / "vault", 450)
    assert git(vault.root, "status", "--porcelain") == ""
    assert len(git(vault.root, "log", "--format=%H").splitlines()) == 4
    one = next(memories(450))
    assert vault.path(one.rel).read_bytes() == one.data


def test_questions_are_of_words_that_the_vault_holds() -> None:
    text = " ".join(one.data.decode().lower() for one in memories(116))
    held = set(re.findall(r"[a-z]+", text))
    asked = Questions(116)
    assert set(asked.rare(20)) <= held
    assert len(set(asked.mixed(20))) == 20
    frequent = set(vocabulary()[:200])
    assert all(set(words.split()) <= frequent for words in asked.common(20, words=5))
