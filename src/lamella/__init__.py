"""Lamella: thick-slice CT to thin-slice CT.

`import lamella; thin = lamella.thin(lamella.read_series("study/"), spacing_mm=1.0)`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamella.api import read_series as read_series
    from lamella.api import thin as thin

__version__ = "0.1.0"

RESEARCH_ONLY = "For research use only. Not a medical device. Not for diagnosis."
"""What every result and every page says."""


def __getattr__(name: str) -> object:
    """Load the API on first use: `lamella --help` and `lamella inspect` must not pay for torch."""
    if name in ("read_series", "thin"):
        from lamella import api

        return getattr(api, name)
    raise AttributeError(f"module 'lamella' has no attribute {name!r}")
