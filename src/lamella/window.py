"""HU <-> network range, by named window. Windows are for display and training; the written series is not clipped to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError


@dataclass(frozen=True)
class HuWindow:
    """A display or training window, as DICOM WindowCenter and WindowWidth name it (PS3.3 C.11.2.1.2), in HU.

    Attributes:
        centre_hu: its middle.
        width_hu: its full width, above 0.

    Raises:
        LamellaError: a width that is not above 0.
    """

    centre_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        if not self.width_hu > 0:
            raise LamellaError(f"A window needs a width above 0. Found {self.width_hu:g} HU.")

    @property
    def low_hu(self) -> float:
        """Lower end."""
        return self.centre_hu - self.width_hu / 2

    @property
    def high_hu(self) -> float:
        """Upper end."""
        return self.centre_hu + self.width_hu / 2

    def to_unit(self, hu: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float32]:
        """HU of any shape -> [-1, 1]: clipped to the window, its ends at -1 and 1 (SPEC A4)."""
        clipped = np.clip(np.asarray(hu, dtype=np.float32), self.low_hu, self.high_hu)
        return np.asarray((clipped - self.centre_hu) * (2.0 / self.width_hu), dtype=np.float32)

    def to_hu(self, unit: NDArray[np.floating]) -> NDArray[np.float32]:
        """[-1, 1] -> HU, exact within the window."""
        return np.asarray(np.asarray(unit, np.float32) * (self.width_hu / 2) + self.centre_hu, dtype=np.float32)


SOFT_TISSUE = HuWindow(40.0, 400.0)
LUNG = HuWindow(-550.0, 1500.0)
BONE = HuWindow(400.0, 1800.0)
PULMONARY_EMBOLISM = HuWindow(100.0, 700.0)
FULL = HuWindow(1023.5, 4095.0)

WINDOWS = {
    "soft-tissue": SOFT_TISSUE,
    "lung": LUNG,
    "bone": BONE,
    "pulmonary-embolism": PULMONARY_EMBOLISM,
    "full": FULL,
}
"""Windows by name; "full" is the whole 12-bit range, [-1024, 3071]."""


def named_window(name: str) -> HuWindow:
    """The window of a name.

    Raises:
        LamellaError: no such window.
    """
    if name not in WINDOWS:
        raise LamellaError(f"Unknown window {name!r}. Expected one of {', '.join(WINDOWS)}.")
    return WINDOWS[name]
