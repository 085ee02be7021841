"""Scans to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.small_model import upright

from lamella.nifti.image import write_nifti
from lamella.volume import Volume


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ct")
    rng = np.random.default_rng(0)
    for name in ("a.nii", "b.nii"):
        z, y, x = np.meshgrid(np.arange(40), np.arange(24), np.arange(24), indexing="ij")
        hu = 300 * np.sin(z / 4 + y / 7) * np.cos(x / 6) + rng.normal(0, 9, z.shape)
        write_nifti(folder / name, [Volume(hu.astype(np.int16), upright(z.shape, 1.0, 1.0))], None)
    return folder
