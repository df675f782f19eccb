"""What a process has to say beside its answers goes to Python's log, which is loaded for that.

`logging` is a twentieth of a command's start, and most commands have nothing to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_form: str | None = None


def to_stderr(form: str) -> None:
    """For doors: lines go to stderr in this form (`avm: %(message)s`), unless the program that
    AVM runs in has set its log up by itself."""
    global _form
    _form = form


def logger(name: str) -> logging.Logger:
    """The log of the module `name`."""
    import logging

    if _form is not None:
        logging.basicConfig(format=_form, level=logging.WARNING)
    return logging.getLogger(name)
