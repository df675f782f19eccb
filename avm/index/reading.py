"""Reading many files into rows, in this process and in programs beside it.

Taking files apart is nine tenths of a build, and Python does one thing at a time in a process. Run
as a program (`python -m avm.index.reading ROOT`) this answers each `(first id, names)` on its input
with their rows, until the input ends. The kernel ends that with the parent.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from avm.base import programs
from avm.index.rows import memory_values, parts, read

#: (rows of `memory` with their ids last, rows of the other tables by the statement for one)
Rows = tuple[list[tuple[object, ...]], dict[str, list[tuple[object, ...]]]]

_BATCH = 250
#: For fewer files a program's own start takes longer than it saves.
_FEW = 3_000
_MOST_PROGRAMS = 3
#: Batches that a program has at a time: one that it reads, one for afterwards.
_AHEAD = 2
_END_SECONDS = 5.0


def rows_of(root: Path | str, first: int, names: Sequence[str]) -> Rows:
    """The rows of these files, as rels; ids count from `first`. What is no file has none."""
    memories: list[tuple[object, ...]] = []
    others: dict[str, list[tuple[object, ...]]] = {}
    for number, path in enumerate(names, first):
        reading = read(root, path)
        if reading.stamp is None:
            continue
        memories.append((*memory_values(reading).values(), number))
        for insert, rows in parts(number, reading.extracted).items():
            others.setdefault(insert, []).extend(rows)
    return memories, others


def read_all(root: Path, names: Sequence[str]) -> Iterator[tuple[int, Rows]]:
    """The rows of all these files, some at a time: (number of files, rows). Ids begin at 1."""
    waiting = deque(
        (start + 1, list(names[start : start + _BATCH])) for start in range(0, len(names), _BATCH)
    )
    count = _programs() if len(names) >= _FEW and sys.executable else 0
    with contextlib.ExitStack() as stack:
        programs: list[_Program] = []
        with contextlib.suppress(OSError):
            programs = [stack.enter_context(_Program(root)) for _ in range(count)]
        while waiting or any(program.has for program in programs):
            for program in programs:
                waiting.extendleft(program.lost())
                while waiting and len(program.has) < _AHEAD and program.give(waiting[0]):
                    waiting.popleft()
            answer = next((p.answer(wait=not waiting) for p in programs if p.has), None)
            if answer is not None:
                yield answer
            elif waiting:
                first, batch = waiting.popleft()
                yield len(batch), rows_of(root, first, batch)


def _programs() -> int:
    return min(_MOST_PROGRAMS, programs.processors() - 1)


class _Program:
    """One such program. If it cannot be started, or ends, what it had is `lost`."""

    def __init__(self, root: Path) -> None:
        self.has: deque[tuple[int, list[str]]] = deque()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ended = False
        command = [*programs.python_command("avm.index.reading"), str(root)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd="/",
            env=programs.environment(os.environ), start_new_session=True,
        )  # fmt: skip
        # Whole answers are longer than a pipe holds: it would wait for us to read them.
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError), self._process:
            if self.has:
                self._process.kill()
            if self._process.stdin:
                self._process.stdin.close()
            self._thread.join(_END_SECONDS)
            self._process.kill()

    def give(self, batch: tuple[int, list[str]]) -> bool:
        """Let it read a batch; False if it has ended."""
        if self._ended or self._process.stdin is None:
            return False
        try:
            marshal.dump(batch, self._process.stdin)
            self._process.stdin.flush()
        except OSError:
            return False
        self.has.append(batch)
        return True

    def answer(self, *, wait: bool) -> tuple[int, Rows] | None:
        """The rows of the batch given first; None if they are not there, or never will be."""
        try:
            answer = self._answers.get(block=wait)
        except queue.Empty:
            return None
        if answer is None:
            self._ended = True
            return None
        _, names = self.has.popleft()
        return len(names), marshal.loads(answer)

    def lost(self) -> list[tuple[int, list[str]]]:
        """The batches that it will not answer any more."""
        lost: list[tuple[int, list[str]]] = []
        if self._ended:
            lost.extend(self.has)
            self.has.clear()
        return lost

    def _listen(self) -> None:
        answers = self._process.stdout
        assert answers is not None
        while len(head := answers.read(8)) == 8:
            size = int.from_bytes(head, "little")
            data = answers.read(size)
            if len(data) < size:
                break
            self._answers.put(data)
        self._answers.put(None)


def main() -> None:
    """Answer until the input ends."""
    root = sys.argv[1]
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            first, names = marshal.load(sys.stdin.buffer)
            data = marshal.dumps(rows_of(root, first, names))
            sys.stdout.buffer.write(len(data).to_bytes(8, "little"))
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
