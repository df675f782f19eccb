"""How important a memory is whose front matter does not say it, of 0.0 to 1.0."""

from __future__ import annotations

DEFAULT_IMPORTANCE = 0.5
