"""What kind of process asks."""

from __future__ import annotations

import enum


class Waiting(enum.Enum):
    """What a process can afford when the configuration says `auto`, and who does its work."""

    #: A command: too short to start the model, unless text finds nothing.
    COMMAND = "command"
    #: A program that stays: starts the model at its first question, waits only if text finds
    #: nothing.
    LIBRARY = "library"
    #: A mount: starts the model as well, and never waits: the kernel holds a folder meanwhile.
    MOUNT = "mount"
    #: A hook of a coding agent: it has no time. It starts a keeper for the next one, and answers by
    #: the index as it is where that cannot be brought up to date at once.
    HOOK = "hook"
    #: The vault's keeper: what others ask it for, it does itself.
    KEEPER = "keeper"
