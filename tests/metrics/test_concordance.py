from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional import concordance_corrcoef

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import concordance


def test_by_hand() -> None:
    assert concordance([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == pytest.approx(1.0)
    # variances 2/3 each, covariance 2/3, means 1 apart: 2 * 2/3 / (4/3 + 1)
    assert concordance([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(4 / 7)
    assert concordance([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]) == pytest.approx(-1.0)


def test_parity_with_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(5, 2, 4000)
    measured = 0.8 * true + rng.normal(0.5, 1, 4000)
    theirs = concordance_corrcoef(torch.from_numpy(measured), torch.from_numpy(true))
    assert concordance(measured, true) == pytest.approx(float(theirs), abs=1e-3)  # theirs divides by n - 1


def test_too_few_or_all_the_same_have_none() -> None:
    assert concordance([1.0, 2.0], [1.0, 2.0]) is None
    assert concordance([2.0] * 5, [2.0] * 5) is None


def test_refusals() -> None:
    with pytest.raises(LamellaError, match="needs pairs"):
        concordance([1.0, 2.0], [1.0])
    with pytest.raises(NonFiniteError):
        concordance([1.0, np.nan, 2.0], [1.0, 2.0, 3.0])
