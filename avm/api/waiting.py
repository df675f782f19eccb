"""What kind of process asks."""

from __future__ import annotations

import enum


class Waiting(enum.Enum):
    """What a process can afford for its queries' vectors, when the configuration says `auto`."""

    #: A command: too short to start the model, unless text finds nothing.
    COMMAND = "command"
    #: A program that stays: starts the model at its first question, waits only if text finds
    #: nothing.
    LIBRARY = "library"
    #: A mount: starts the model as well, and never waits: the kernel holds a folder meanwhile.
    MOUNT = "mount"
