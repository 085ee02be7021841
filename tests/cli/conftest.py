"""A small study, thin and thick, and a model small enough to thin it at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.small_model import SMALL

from lamella.cli import main
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import FlowNet, MeanScaleNet
from lamella.embedded.weights import Calibration
from lamella.phantom import PhantomSettings, thorax_phantom, write_phantom_study
from lamella.thinning.model import Limits


@pytest.fixture(scope="session")
def thin_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 slices of 48 x 40 at 1 mm."""
    folder = tmp_path_factory.mktemp("study") / "thin"
    phantom = thorax_phantom(PhantomSettings(shape=(20, 48, 40), pixel_mm=3.0, nodules=0))
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
