"""The one clock: expiry, recency and commit dates ask it; file stamps stay the kernel's own.

`AVM_CLOCK` moves it, so that a demo or a test sees a vault as it was on a given day: a number of
seconds (`+3600`, `-86400.5`) shifts it, an ISO instant freezes it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

from avm.base.errors import ConfigError
from avm.base.times import parse_instant


class Clock(NamedTuple):
    """A wall clock: `frozen_at` (seconds since the epoch) if set, else real time plus `shift`."""

    shift: float = 0.0
    frozen_at: float | None = None

    @classmethod
    def from_setting(cls, setting: str) -> Clock:
        """Read the value of `AVM_CLOCK`; the empty string is real time. Raises ConfigError."""
        if not setting:
            return cls()
        if setting[0] in "+-":
            try:
                return cls(shift=float(setting))
            except ValueError:
                pass
        instant = parse_instant(setting)
        if instant is None:
            raise ConfigError(
                f"AVM_CLOCK is {setting!r}: give seconds with a sign (+3600) or an ISO instant"
            )
        return cls(frozen_at=instant.timestamp())

    def timestamp(self) -> float:
        """Now, in seconds since the epoch."""
        return self.frozen_at if self.frozen_at is not None else time.time() + self.shift

    def now(self) -> datetime:
        """Now, as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)
