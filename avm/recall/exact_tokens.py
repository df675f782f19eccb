"""Exact `o200k_base` counts, by a package that has the whole vocabulary, if one is installed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import cache, lru_cache

from avm.base.errors import ConfigError

_HINT = "recall.tokens is exact, which needs the package bpe-openai: pip install bpe-openai"


@cache
def exact_counter() -> Callable[[str], int]:
    """The encoder's own count of a text's tokens. Raises ConfigError if bpe-openai is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # how the package reads its data
            encoding = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ImportError:
        raise ConfigError(_HINT) from None
    return lru_cache(2048)(lambda text: len(encoding.encode_ordinary(text)))
