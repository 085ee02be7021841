"""Agreement of two ways to measure the same thing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lamella.errors import LamellaError, NonFiniteError

FEWEST = 3
"""Two scans lie on a line, and agree or disagree for no reason."""


def concordance(measured: ArrayLike, true: ArrayLike) -> float | None:
    """Lin's concordance correlation coefficient (Biometrics 45:255, 1989): 1 where every pair is equal.

    2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2), with variances over n: correlation, less what a shift or another scale
    takes off it.

    Args:
        measured: (n,) one figure a scan.
        true: (n,) the truth's.

    Returns:
        -1 to 1; None with fewer than `FEWEST` scans, or where all figures are one and the same.

    Raises:
        NonFiniteError: a figure is not finite.
        LamellaError: lengths differ.
    """
    x, y = np.asarray(measured, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise LamellaError(f"Concordance needs pairs. Found arrays of shape {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise NonFiniteError("Figures are not finite numbers. Leave out no scan: mend it.")
    spread = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2) if len(x) >= FEWEST else 0.0
    return 2 * float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread else None
