"""Who authors and who commits: the person as git knows them, agents by their own address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from avm.base.paths import is_agent_name
from avm.vault import git

_IDENT = re.compile(r"(.*) <(.*)> \d+ [+-]\d{4}", re.DOTALL)
#: `.invalid` (RFC 2606) belongs to nobody.
_AGENTS = "@agents.avm.invalid"


class Identity(NamedTuple):
    """A name and an e-mail address."""

    name: str
    email: str

    def environment(self) -> dict[str, str]:
        """The variables that make the git program act as this identity."""
        return {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", self.name), ("EMAIL", self.email))
        }


def person(root: Path) -> Identity:
    """The person at this machine: git's configuration, else the login name.

    git itself refuses to commit without `user.name` and `user.email`, libgit2 if one is empty; a
    memory must not be lost for that.
    """
    done = git.run(root, ("var", "GIT_COMMITTER_IDENT"), check=False)
    match = _IDENT.match(done.stdout.decode("utf-8", "replace").strip())
    name, email = (match[1], match[2]) if done.returncode == 0 and match else ("", "")
    if name and email:
        return Identity(name, email)
    import getpass
    import socket

    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = "avm"
    return Identity(name or login, email or f"{login}@{socket.gethostname()}")


def agent_identity(agent: str) -> Identity:
    """The author of what `agent` wrote."""
    return Identity(agent, f"{agent}{_AGENTS}")


def agent_of(email: str) -> str | None:
    """The agent that an author's address belongs to, None for anybody else's."""
    name = email.removesuffix(_AGENTS)
    return name if name != email and is_agent_name(name) else None
