"""The command line: one file a verb, loaded when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from keyword import iskeyword

import click

from avm.base import log, stderr
from avm.base.errors import AVMError
from avm.cli.door import Door, drop_output

VERBS = (
    "init",
    "clone",
    "import",
    "remember",
    "recall",
    "search",
    "explain",
    "similar",
    "cat",
    "log",
    "show",
    "diff",
    "blame",
    "mount",
    "unmount",
    "run",
    "status",
    "commit",
    "sync",
    "conflicts",
    "resolve",
    "restore",
    "undo",
    "forget",
    "gc",
    "purge",
    "allow",
    "access",
    "index",
    "keeper",
    "mcp",
    "token",
    "install-agent",
    "model",
    "doctor",
    "hook",
    "hooks",
    "bench",
    "demo",
)


class _Verbs(click.Group):
    """Commands by name, each imported only when it runs: `search` must not pay for `mount`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = import_module(f"avm.cli.{module}").command
        return command


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.option("--vault", metavar="FOLDER", help="The vault; default: around here, else ~/avm.")
@click.option("--agent", metavar="NAME", help="Act for this agent; default: for the owner.")
@click.version_option(None, "--version", package_name="avm-memory", prog_name="avm")
@click.pass_context
def cli(ctx: click.Context, vault: str | None, agent: str | None) -> None:
    """AVM: agent memory as plain files in git.

    Exit codes: 0 done, 1 nothing found, 2 usage, 3 and up: docs/errors.md.
    """
    ctx.obj = Door(vault, agent)
    ctx.call_on_close(ctx.obj.close)


def main() -> None:
    """Run the command line and exit. A user's mistake is one line, a bug is a trace."""
    log.to_stderr("avm: %(message)s")
    try:
        code = cli.main(standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as err:
        err.show()
        code = 2
    except click.ClickException as err:
        stderr.tell(err.format_message())
        code = 2
    except click.Abort:
        code = 130
    except AVMError as err:
        stderr.tell(str(err))
        code = err.exit_code
    except BrokenPipeError:
        # The reader left: `avm search x | head -1`.
        drop_output()
        code = 0
    except OSError as err:  # a folder that is gone or read-only, a full disk
        stderr.tell(f"{err.filename or 'the system says'}: {err.strerror or err}")
        code = AVMError.exit_code
    sys.exit(code)
