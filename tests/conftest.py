"""Fixtures for every room. This file being here also puts `tests` on the import path of subfolders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lamella.embedded.model import EmbeddedModel
from lamella.volume import Volume
from tests.small_model import SMALL, awake, upright


@pytest.fixture(scope="session")
def small_model() -> EmbeddedModel:
    """See `awake`."""
    return awake(SMALL)


@pytest.fixture
def thick_volume() -> Volume:
    """Seven 5 mm slices of smooth structure and noise, whole numbers, 42 x 50 pixels (not a multiple of anything)."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(np.arange(7), np.arange(42), np.arange(50), indexing="ij")
    hu = 400 * np.sin(z / 1.7 + y / 9) * np.cos(x / 8) - 200 + rng.normal(0, 12, z.shape)
    return Volume(hu.round().astype(np.int16), upright((7, 42, 50), 5.0, 5.0))


@pytest.fixture(scope="session")
def ct_folder() -> Path:
    """The folder of real CT, or a skip that says why."""
    folder = Path(os.environ.get("LAMELLA_CT", Path(__file__).parents[2] / "shared" / "ct"))
    if not folder.is_dir():
        pytest.skip(f"no real CT at {folder}; set LAMELLA_CT to a folder laid out like it")
    return folder
