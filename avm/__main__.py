"""`avm`, and `python -m avm`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit. The hooks of coding agents do without its parser, which is
    half of what they take."""
    if sys.argv[1:3] == ["hook", "claude-code"]:
        from avm.hooks import claude_code

        claude_code.main(sys.argv[3:])
    from avm.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
