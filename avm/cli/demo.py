"""`avm demo`: the main job on the sample vault, with real commands, printed as they run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import click

from avm.base.errors import AVMError
from avm.cli.door import Door, say, shared
from avm.embed.model_folder import semantic_installed
from avm.recall.tokens import count_tokens

#: The day on which the sample vault is seen, so that its ages and expiries never rot.
SAMPLE_NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
_PARAPHRASE = "how do we undo a faulty shipment"
_PARAPHRASE_ANSWER = "rollback_previous_image.md"
_PATIENCE_SECONDS = 15.0


class DemoError(AVMError):
    """A step of the demo did not do what it should."""

    exit_code = 14


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the vault for you to look at.")
@shared
@click.pass_obj
def command(door: Door, keep: bool) -> None:
    """Copy the sample vault, mount it, and do the main things with it; exits 0 if all is right."""
    folder = Path(tempfile.mkdtemp(prefix="avm-demo-"))
    try:
        _Demo(folder).run()
    finally:
        if keep:
            say(f"\nThe vault is in {folder}/vault\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def sample_vault() -> Path:
    """The sample vault's folder: in the package, or beside it in a checkout."""
    packaged = Path(str(resources.files("avm"))) / "_data" / "sample-vault"
    return packaged if packaged.is_dir() else packaged.parents[2] / "sample-vault"


class _Demo:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("AVM_")}
        self._env |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "AVM_CLOCK": f"{SAMPLE_NOW.timestamp() - time.time():+.0f}",
            "AVM_VAULT": str(folder / "vault"),
            "SAMPLE": str(sample_vault()),
        }

    def run(self) -> None:
        """Every step; unmounts whatever happens."""
        self._make()
        self._step("avm mount mnt --agent akashi --daemon", "mounted")
        try:
            self._write_and_ask()
            self._change_behind()
            self._expire()
            self._who_wrote()
            self._measure()
            self._meaning()
        finally:
            self._step("avm unmount mnt", "unmounted")
        say("\nEverything above was checked.\n")

    def _make(self) -> None:
        self._title("A vault from the sample memories: plain markdown files in git")
        self._step("avm init vault", "vault")
        self._step('cp -r "$SAMPLE"/. vault/ && avm commit -m "The sample vault"', "1 commit")

    def _write_and_ask(self) -> None:
        self._title("An agent writes a memory with echo and asks with cat")
        note = "mnt/memory/private/akashi/rsi_rule.md"
        self._step(f'echo "RSI > 70 → exit" > {note}', "")
        self._step(f"cat {note}", "RSI > 70 → exit\n", exact=True)
        self._step("cat mnt/:search?RSI", "rsi_rule.md")
        out = self._step('cat "mnt/:recall?query=NVDA+risk&max_tokens=500"', "NVDA")
        self._check(count_tokens(out) <= 500, "the recall kept to its 500 tokens")
        self._step("cat mnt/:stats", "memories")
        self._step("cat mnt/:tags | head -5", "trading")
        self._step(f"cat {note}:meta", '"path": "/memory/private/akashi/rsi_rule.md"')
        self._step("ls mnt/memory/private", "akashi\n", exact=True)

    def _change_behind(self) -> None:
        self._title("Somebody edits the file behind the mount; the next search knows")
        self._step("sed -i 's/exit/sell a third/' vault/memory/private/akashi/rsi_rule.md", "")
        self._step("cat mnt/:search:sell+a+third,limit=1", "rsi_rule.md")

    def _expire(self) -> None:
        self._title("A memory with a time to live")
        self._step(
            'avm remember --agent akashi --ttl 2s --title fleeting "the desk closes early"',
            "/memory/private/akashi/fleeting.md",
        )
        self._step("ls mnt/memory/private/akashi | grep fleeting", "fleeting.md")
        self._step_until("test ! -e mnt/memory/private/akashi/fleeting.md && echo gone", "gone")
        self._step("ls vault/memory/private/akashi | grep fleeting", "fleeting.md")

    def _who_wrote(self) -> None:
        self._title("git knows who wrote what")
        log = "git -C vault log --format='%an: %s'"
        self._step_until(log, "akashi: ")

    def _measure(self) -> None:
        self._title("The point of it: tokens (o200k) of the whole memory and of an answer")
        memories = Path(self._env["AVM_VAULT"]) / "memory"
        files = sorted(memories.rglob("*.md"))
        whole = sum(count_tokens(file.read_text("utf-8", "replace")) for file in files)
        answer = self._step('avm recall --max-tokens 400 "position size before earnings"', "#L")
        tokens = count_tokens(answer)
        self._check(0 < tokens <= 400, "the recall kept to its 400 tokens")
        say(
            f"whole memory {whole} tokens, this answer {tokens}: {whole / tokens:.0f} times fewer\n"
        )
        self._check(tokens * 10 < whole, "the answer is a tenth of the memory or less")

    def _meaning(self) -> None:
        self._title("Asking in other words")
        if not semantic_installed():
            say(
                "Semantic search is not installed. It would find memories by meaning, such as\n"
                f"{_PARAPHRASE_ANSWER} for {_PARAPHRASE!r}:\n"
                "pip install 'avm-memory[semantic]', then avm index --wait\n"
            )
            return
        self._step(
            f"avm recall --agent hermes --semantic --max-tokens 300 {shlex.quote(_PARAPHRASE)}",
            _PARAPHRASE_ANSWER,
        )

    def _title(self, text: str) -> None:
        say(f"\n# {text}\n")

    def _step(self, shell: str, expected: str, *, exact: bool = False) -> str:
        """Run one command, print it and what it prints, and check that."""
        say(f"$ {shell}\n")
        done = self._bash(shell)
        say(done.stdout)
        say(done.stderr)
        out = done.stdout.decode("utf-8", "replace")
        fits = out == expected if exact else expected in out
        self._check(done.returncode == 0 and fits, shell)
        return out

    def _step_until(self, shell: str, expected: str) -> None:
        """Run a command until it prints what is expected, for some seconds; print the last run."""
        say(f"$ {shell}\n")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while expected not in (out := self._bash(shell).stdout.decode("utf-8", "replace")):
            self._check(time.monotonic() < deadline, f"{shell} (it printed {out!r})")
            time.sleep(0.1)
        say(out)

    def _bash(self, shell: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", shell],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def _check(self, right: bool, what: str) -> None:
        if not right:
            raise DemoError(f"demo: this went wrong: {what}")
