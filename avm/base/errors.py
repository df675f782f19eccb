"""The error tree: each class owns its exit code and its errno.

Errors are raised deep and mapped once per door: the command line prints the message and exits with
`exit_code`, the mount answers `errno`. A message is one line: what is wrong, and what to do.
`docs/errors.md` lists the classes; a test holds the two together.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class AVMError(Exception):
    """Something AVM cannot do, said in one line."""

    exit_code: ClassVar[int] = 3
    errno: ClassVar[int] = errno.EIO


class UsageError(AVMError):
    """A bad value: the message names the value and what is allowed."""

    exit_code = 2
    errno = errno.EINVAL


class ConfigError(UsageError):
    """A configuration file or variable holds an unknown key or a bad value."""

    exit_code = 4


class NoVaultError(AVMError):
    """There is no vault where one was asked for."""

    exit_code = 5
    errno = errno.ENOENT


class NotFoundError(AVMError):
    """No such memory, or none that this agent may see: the two look alike on purpose."""

    exit_code = 6
    errno = errno.ENOENT


class AccessError(AVMError):
    """An agent may not write there."""

    exit_code = 7
    errno = errno.EACCES


class ExistsError(AVMError):
    """Something is there already."""

    exit_code = 8
    errno = errno.EEXIST


class RepositoryError(AVMError):
    """git cannot do it: the repository's state, its format, or the git program is in the way."""

    exit_code = 9


class MountError(AVMError):
    """A mount cannot be made, found or removed."""

    exit_code = 10


class ModelError(AVMError):
    """The embedding model is missing, damaged, or did not answer."""

    exit_code = 11


class IndexDamagedError(AVMError):
    """The index cannot be used and could not be rebuilt."""

    exit_code = 12


class UnsureError(AVMError):
    """A file's front matter cannot be changed with certainty, so it was left as it is."""

    exit_code = 13
    errno = errno.EINVAL


class SecretError(AVMError):
    """What was to be written or committed holds a secret: take it out, or say that it may stay."""

    exit_code = 15
    errno = errno.EACCES


class FrontMatterError(UsageError):
    """What was to be committed holds front matter that cannot be read."""

    exit_code = 16


class RemoteError(AVMError):
    """A remote repository cannot be reached, or refuses: nothing is lost, the next sync goes on."""

    exit_code = 17


class QuotaError(AVMError):
    """An agent has as much as its quota lets it have."""

    exit_code = 18
    errno = errno.EDQUOT
