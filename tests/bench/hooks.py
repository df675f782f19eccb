"""How long Claude Code's hooks take, as whole processes: `python tests/bench/hooks.py`.

On the sample vault: with a keeper, without one, and beside a Python that does nothing, which is the
floor on this machine. stdin stays open, as the host leaves it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
SAMPLE = Path(__file__).parents[2] / "sample-vault"
AVM = [sys.executable, "-P", "-m", "avm"]
PROMPT = "what do we know about NVDA risk limits"
EVENTS = {
    "SessionStart": {"source": "startup"},
    "UserPromptSubmit": {"prompt": PROMPT},
    "UserPromptSubmit, 1 MB": {"prompt": f"{PROMPT} " * 26_000},
    "Stop": {},
}


def main() -> None:
    """Print a table; times in ms."""
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "AVM_KEEPER_AUTOSTART": "false", "AVM_HOOKS_WAIT": "10"}
        vault = ["--vault", f"{home}/avm"]
        subprocess.run([*AVM, "init", f"{home}/avm"], env=env, check=True, capture_output=True)
        shutil.copytree(SAMPLE / "memory", f"{home}/avm/memory", dirs_exist_ok=True)
        subprocess.run([*AVM, *vault, "index"], env=env, check=True, capture_output=True)
        print(f"{'ms, median of ' + str(ROUNDS):26} {'keeper':>7} {'none':>7} {'python':>7}")
        for name, fields in EVENTS.items():
            command = [*AVM, "hook", "claude-code", name.split(",")[0], "--agent", "akashi", *vault]
            alone = _median(command, fields, env)
            subprocess.run(
                [*AVM, *vault, "keeper", "start"], env=env, capture_output=True, check=True
            )
            try:
                kept = _median(command, fields, env)
                floor = _median([sys.executable, "-c", "pass"], {}, env)
            finally:
                subprocess.run(
                    [*AVM, *vault, "keeper", "stop"], env=env, capture_output=True, check=True
                )
            print(f"{name:26} {kept:7.0f} {alone:7.0f} {floor:7.0f}")


def _median(command: list[str], fields: dict[str, str], env: dict[str, str]) -> float:
    return statistics.median(_once(command, fields, env) for _ in range(ROUNDS)) * 1000


def _once(command: list[str], fields: dict[str, str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(fields).encode())
            process.stdin.flush()
        except BrokenPipeError:
            pass
        process.stdout.read()
        process.wait()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
