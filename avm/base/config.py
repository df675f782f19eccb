"""Settings: argument > `AVM_*` > `<git dir>/avm/config.toml` > the user's file > default.

Only doors build a `Config`; everything below is handed one. Nothing tracked in a vault configures
anything. `KEYS` drives reading, checking and `docs/configuration.md`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from avm.base.access_rules import AccessRules
from avm.base.clock import Clock
from avm.base.errors import ConfigError, UsageError
from avm.base.paths import check_agent
from avm.base.times import parse_duration

SEMANTIC_MODES = ("auto", "wait", "off")
#: What `remember` does about a memory that says nearly the same (docs/files.md).
ON_DUPLICATE = ("keep", "skip", "supersede")


def _choice(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise UsageError(f"use one of {', '.join(allowed)}")
        return str(value)

    return read


def _folder(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise UsageError("give a folder's path")
    # Absolute: the keeper, which is handed the same settings, runs in another folder.
    return Path(os.path.abspath(Path(value).expanduser()))


def _agent(value: Any) -> str:
    return check_agent(value)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise UsageError("use true or false")


def _duration(value: Any) -> timedelta:
    return parse_duration(str(value))


def _number(most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            number = float(str(value))
        except ValueError:
            number = -1.0
        if not 0.0 <= number <= most:
            raise UsageError(f"give a number from 0 to {most:g}")
        return number

    return read


def _text(value: Any) -> str:
    text = str(value).strip()
    if not text or text.startswith("-"):
        raise UsageError("give a name or an address")
    return text


def _tokens(value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError("give a whole number of tokens, 1 or more")
    return number


def _tokens_or_none(value: Any) -> int:
    return 0 if str(value) == "0" else _tokens(value)


class Key(NamedTuple):
    """One setting: its dotted name, the variable that sets it, how it is read, what it does."""

    name: str
    default: Any
    read: Callable[[Any], Any]
    doc: str

    @property
    def variable(self) -> str:
        """The environment variable: `commit.quiet` is `AVM_COMMIT_QUIET`."""
        return "AVM_" + self.name.replace(".", "_").upper()


KEYS: Final = (
    Key("vault", None, _folder, "the vault to use outside of any vault; default ~/avm"),
    Key("agent", None, _agent, "act for this agent; default: act for the owner"),
    Key("state_dir", None, _folder, "where index, journal and locks live; default <git dir>/avm"),
    Key("durability", "process", _choice("process", "power"),
        "what an acknowledged write survives: the process's end, or a power cut (fsync)"),
    Key("semantic", "auto", _choice(*SEMANTIC_MODES),
        "auto: use embeddings when they are ready; wait: wait for the model; off: text only"),
    Key("model", None, _folder, "the folder of the embedding model all-MiniLM-L6-v2"),
    Key("on_duplicate", "keep", _choice(*ON_DUPLICATE),
        "what remember does where a memory says nearly the same: write all the same, skip, or"
        " supersede it"),
    Key("recall.max_tokens", 2000, _tokens, "the token budget of a recall that names none"),
    Key("recall.tokens", "bound", _choice("bound", "exact"),
        "how a recall counts: bound: never too few; exact: with the package bpe-openai"),
    Key("recall.text", 0.5, _number(10),
        "weight of the words that a passage shares with the question"),
    Key("recall.meaning", 0.5, _number(10), "weight of its nearness in meaning"),
    Key("recall.neighbour", 0.2, _number(10), "weight of what speaks for the passages beside it"),
    Key("recall.document", 0.5, _number(10),
        "weight of what speaks for the best passage of its file or episode"),
    Key("recall.field", 0.2, _number(10),
        "weight of a front matter value, such as a speaker, that the question names"),
    Key("recall.link", 0.3, _number(1),
        "what a memory that a good match links to has of that one's score"),
    Key("recall.importance", 0.4, _number(2),
        "how much importance counts: what 1.0 and 0.0 are apart, of 1; 0 for nothing"),
    Key("recall.recency", 0.2, _number(2),
        "how much age counts: what new and very old are apart, of 1; 0 for nothing"),
    Key("recall.half_life", timedelta(days=365), _duration,
        "the age at which half of what is new about a memory is gone"),
    Key("keeper.autostart", True, _switch,
        "whether mounts and Python processes start the keeper when none runs"),
    Key("keeper.idle", timedelta(minutes=15), _duration,
        "how long a keeper that nobody asks and that has nothing to do stays"),
    Key("mount.fast", True, _switch,
        "whether a mount's hottest calls take a shorter way than the FUSE binding's own"),
    Key("commit.quiet", timedelta(seconds=2), _duration,
        "how long a memory that came through AVM rests before it is committed"),
    Key("commit.people_quiet", timedelta(minutes=5), _duration,
        "the same for a file that was saved by an editor or another program"),
    Key("commit.max_wait", timedelta(seconds=30), _duration,
        "how long a memory waits at most that is written to all the time"),
    Key("commit.who", None, _choice("all", "agents", "off"),
        "whose writes are committed in the background; default: all, in an adopted vault agents"),
    Key("sync.remote", None, _text, "the remote, by name or address, that avm sync uses; default:"
        " the branch's own, the only one, or origin"),
    Key("sync.every", None, _duration,
        "how often the keeper syncs by itself; default: never"),
    Key("sync.on_commit", False, _switch, "whether the keeper syncs after each commit"),
    Key("hooks.brief", 1000, _tokens_or_none,
        "tokens that a coding agent is told when a session begins; 0: nothing"),
    Key("hooks.reminder", 500, _tokens_or_none,
        "tokens that it is told with a prompt that brings something to mind; 0: nothing"),
    Key("hooks.wait", 0.3, _number(600),
        "seconds that a hook of a coding agent may take; what is not known by then is not told"),
    Key("audit", True, _switch,
        "whether what agents write, and what they are denied, is logged (docs/access.md)"),
    Key("commit.sign", False, _switch, "sign commits, as git's own configuration says how"),
)  # fmt: skip
_BY_NAME = {key.name: key for key in KEYS}
_BY_VARIABLE = {key.variable: key for key in KEYS}
#: Read by doors, set by nobody's file: the clock (avm.base.clock).
CLOCK_VARIABLE = "AVM_CLOCK"
#: sun_path holds 104 bytes on macOS, 108 on Linux; `/keeper-<16 digits>.sock` is 29.
_LONGEST_SOCKET_FOLDER = 70


class Config:
    """Settings by dotted name: `config["commit.quiet"]`. Immutable."""

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        access: AccessRules | None = None,
    ) -> None:
        self._values = {key.name: key.default for key in KEYS} | dict(values or {})
        self.clock = clock or Clock()
        #: What agents are given and denied.
        self.access = access or AccessRules()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    @property
    def syncs(self) -> bool:
        """Whether the keeper syncs by itself."""
        return self["sync.every"] is not None or self["sync.on_commit"]

    @property
    def fsync(self) -> bool:
        """Whether writes go through fsync."""
        return bool(self["durability"] == "power")


def user_config_path() -> Path:
    """Where the user's own config file is looked for."""
    if sys.platform == "darwin":
        import platformdirs

        return Path(platformdirs.user_config_dir("avm")) / "config.toml"
    else:
        # platformdirs says the same, and costs each command 3 ms.
        return user_config_home() / "avm" / "config.toml"


def user_config_home() -> Path:
    """The XDG config home, which git uses on every system."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def user_git_configs() -> tuple[Path, ...]:
    """Where git looks for the machine's and the user's configuration."""
    return Path("/etc/gitconfig"), user_config_home() / "git" / "config", Path.home() / ".gitconfig"


def hub_cache() -> Path:
    """Where the Hugging Face libraries keep downloaded models (their own variables, in order)."""
    for variable, rest in (("HF_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if value := os.environ.get(variable):
            return Path(value) / rest
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "huggingface" / "hub"


def model_home() -> Path:
    """Where AVM keeps embedding models of its own, a folder each."""
    import platformdirs

    return Path(platformdirs.user_data_dir("avm")) / "models"


def install_records() -> Path:
    """Where AVM notes what it changed in the configuration of coding agents."""
    import platformdirs

    return Path(platformdirs.user_state_dir("avm")) / "install"


def hub_endpoint() -> str:
    """The address of the Hugging Face hub, or of the mirror that its own variable names."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_is_offline() -> bool:
    """Whether the hub's own variables forbid the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def mount_registry() -> Path:
    """Where mounts are noted. Raises ConfigError."""
    return runtime_folder() / "mounts"


def runtime_folder() -> Path:
    """AVM's folder in the user's runtime folder, else one of the user's own in the temp folder.

    Raises ConfigError if that one is somebody else's.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and os.access(base, os.W_OK):
        folder = Path(base) / "avm"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    return _own_temp_folder()


def socket_folder() -> Path:
    """The same, but where its path leaves no room for a socket's name: 108 bytes at most.

    Raises ConfigError.
    """
    folder = runtime_folder()
    return folder if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER else _own_temp_folder()


def _own_temp_folder() -> Path:
    own = Path(os.environ.get("TMPDIR") or "/tmp") / f"avm-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    status = own.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(f"{own} belongs to somebody else: set XDG_RUNTIME_DIR")
    return own


def default(name: str) -> Any:
    """A setting where nobody sets it."""
    return _BY_NAME[name].default


def default_vault() -> Path:
    """The vault of whoever names none."""
    return Path.home() / "avm"


def load(
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    user_file: Path | None = None,
    vault_file: Path | None = None,
) -> Config:
    """Join the layers; an argument of None was not given.

    Raises ConfigError for an unknown key, an unknown `AVM_*` variable and a bad value, each named.
    """
    values: dict[str, Any] = {}
    access = AccessRules()
    for file in (user_file, vault_file):
        if file is not None:
            values |= _read_file(file, access)
    for variable, text in environ.items():
        key = _BY_VARIABLE.get(variable)
        if key and text:
            values[key.name] = _checked(key, text, variable)
        elif variable.startswith("AVM_") and not key and variable != CLOCK_VARIABLE:
            known = ", ".join(sorted([*_BY_VARIABLE, CLOCK_VARIABLE]))
            raise ConfigError(f"{variable}: no such setting; there are {known}")
    for name, value in arguments.items():
        if value is not None:
            values[name] = _checked(_BY_NAME[name], value, name, ConfigArgumentError)
    return Config(values, Clock.from_setting(environ.get(CLOCK_VARIABLE, "")), access)


class ConfigArgumentError(UsageError):
    """A bad value given as an argument: the caller's slip, no file is wrong."""


def _checked(key: Key, value: Any, where: str, error: type[UsageError] = ConfigError) -> Any:
    try:
        return key.read(value)
    except UsageError as reason:
        text = str(reason)
        named = f"{where}: {text}" if repr(value) in text else f"{where} is {value!r}: {text}"
        raise error(named) from None


def _read_file(file: Path, access: AccessRules) -> dict[str, Any]:
    """The settings of a file; its tables of agents and groups go to `access`."""
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as err:
        raise ConfigError(f"{file}: {err.strerror}") from None
    import tomllib

    try:
        table = tomllib.loads(data.decode())
    except ValueError as err:
        raise ConfigError(f"{file}: {err}") from None
    values = {}
    for kind in ("agents", "groups"):
        tables = table.pop(kind, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"{file}: {kind} is {tables!r}: give tables, [{kind}.NAME]")
        for name, rules in tables.items():
            try:
                access.add(kind, name, rules)
            except UsageError as err:
                raise ConfigError(f"{file}: {err}") from None
    for name, value in _flat(table).items():
        key = _BY_NAME.get(name)
        if key is None:
            known = ", ".join((*_BY_NAME, "[agents.NAME]", "[groups.NAME]"))
            raise ConfigError(f"{file}: unknown key {name!r}; there are {known}")
        values[name] = _checked(key, value, f"{file}: {name}")
    return values


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def from_process(arguments: Mapping[str, Any], vault_file: Path | None = None) -> Config:
    """For doors: join the layers with this process's environment and user config file."""
    user_file = user_config_path()
    return load(arguments, os.environ, user_file=user_file, vault_file=vault_file)
