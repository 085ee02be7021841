"""What `thin` returns, and the stopwatch of its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamella.volume import Volume

Progress = Callable[[str, float], None]
"""Called with a stage's name and the fraction of it that is done."""


@dataclass(frozen=True, eq=False)
class Thinned:
    """The result.

    Attributes:
        volume: int16 HU on the thin grid.
        samples: every sample, the first being `volume`; one volume in mode mean.
        spread: predicted standard deviation of the mean's error in float32 HU, if asked for.
        report: what was done, with which model, how long it took and how consistent the written integers are.
    """

    volume: Volume
    samples: tuple[Volume, ...]
    spread: Volume | None
    report: dict[str, Any]


class Stopwatch:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @property
    def report(self) -> dict[str, dict[str, float]]:
        """What a report says of it."""
        return {"seconds": {k: round(v, 2) for k, v in self.seconds.items()}}


def silent(stage: str, fraction: float) -> None:
    """No progress wanted."""
