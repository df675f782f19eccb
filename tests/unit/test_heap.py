"""The C library's heap, as a program that stays has it."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Prints how many pieces are mapped by themselves, after some that were freed and two that are not;
#: then what glibc tells of its heaps, of which a thread had its own.
PROGRAM = """
import ctypes, threading
from avm.base import heap

class Info(ctypes.Structure):
    _fields_ = [(f"_{number}", ctypes.c_size_t) for number in range(10)]

library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.mallinfo2.restype = Info
library.fdopen.restype = ctypes.c_void_p
library.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
library.fflush.argtypes = [ctypes.c_void_p]
heap.keep_small()
before = library.mallinfo2()._3
for _ in range(3):
    library.free(library.malloc(1_000_000))
library.malloc(1_000_000), library.malloc(300_000)
print(library.mallinfo2()._3 - before, flush=True)
thread = threading.Thread(target=lambda: library.malloc(1_000))
thread.start()
thread.join()
out = library.fdopen(1, b"w")
library.malloc_info(0, out)
library.fflush(out)
"""


def test_what_is_large_is_mapped_and_threads_share_the_rest() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if "mallinfo2" in done.stderr:
        pytest.skip("this C library is no glibc, or an old one")
    assert done.returncode == 0, done.stderr
    mapped, _, told = done.stdout.partition("\n")
    assert int(mapped) == 2
    assert told.count("<heap nr=") == 1
