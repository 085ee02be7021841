"""What a figure of the catalogue is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Best = Literal["low", "high", "one", "zero", "none"]
"""Which value is best: the lowest, the highest, the one nearest 1 or 0; "none": no value is better than another."""

Group = Literal["error", "tasks", "structure", "noise", "densitometry", "foci", "calibration", "measurement"]


@dataclass(frozen=True)
class Figure:
    """One figure of the catalogue.

    Attributes:
        label: column heading.
        unit: HU, dB, mm, %, or empty for a plain ratio.
        best: which value is best.
        group: heading it stands under.
        about: one sentence: what it says, and what a good value looks like.
        digits: decimals to print.
    """

    label: str
    unit: str
    best: Best
    group: Group
    about: str
    digits: int = 2
