"""Fixtures for every room. This file being here also puts `tests` on the import path of subfolders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from lamella.cli import main
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import FlowNet, MeanScaleNet
from lamella.embedded.weights import Calibration
from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study
from lamella.thinning.model import Limits
from lamella.volume import Volume
from tests.small_model import SMALL, awake, upright

settings.register_profile("fuzz", max_examples=20_000)


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


@pytest.fixture(scope="session")
def thin_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 slices of 48 x 40 at 1 mm."""
    folder = tmp_path_factory.mktemp("study") / "thin"
    phantom = paint_phantom(PhantomSettings(shape=(20, 48, 40), pixel_mm=3.0, nodules=0))
    write_phantom_study(folder, phantom)
    return folder


@pytest.fixture(scope="session")
def thick_study(thin_study: Path) -> Path:
    """The same, 4 slices of 5 mm."""
    folder = thin_study.parent / "thick"
    arguments = ["degrade", str(thin_study), str(folder), "--thickness-mm", "5", "--spacing-mm", "5", "--quiet"]
    assert main(arguments) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights: everything but the answer is as with a trained one."""
    folder = tmp_path_factory.mktemp("models") / "embedded"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = MeanScaleNet(SMALL), FlowNet(SMALL)
    EmbeddedModel("tiny", "", "Apache-2.0", SMALL, Limits(), Calibration(), *networks).save(
        folder, {"description": "random"}
    )
    return folder


@pytest.fixture(scope="session")
def thin_command(thick_study: Path, tiny_model: Path) -> list[str]:
    """`thin SOURCE --model ...`, to be followed by OUTPUT."""
    return ["thin", "--model", str(tiny_model), "--quiet", str(thick_study)]
