"""A latent diffusion model among the methods of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.phantom_case import answers, settings_of
from tests.small_latent import small_latent_model

from lamella.errors import UsageError
from lamella.evaluate.cases import Case
from lamella.evaluate.methods import crop_answer, load_models, methods_of
from lamella.evaluate.settings import ModelMethods
from lamella.thinning.consistency import consistency
from lamella.volume import Volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "latent"
    small_latent_model().save(path, {})
    return str(path)


@pytest.mark.slow
def test_with_and_without_projection_side_by_side(tmp_path: Path, chest: Case, folder: str) -> None:  # SPEC C1, B16
    both = (
        ModelMethods(folder, ("mean",), steps=1, samples=2, name="latent"),
        ModelMethods(folder, ("sample",), steps=1, samples=1, name="not projected", project=False),
    )
    settings = settings_of(tmp_path, baselines=(), models=both, volumes=())
    assert [one.name for one in methods_of(settings)] == ["latent mean", "not projected sample"]
    found = {one.method: crop_answer(chest, one) for one in answers(chest, settings, load_models(settings))}
    grid = chest.scan.volume.geometry
    misfit = {
        name: consistency(Volume(one.hu, grid), chest.thick)["consistency_rmse_hu"] for name, one in found.items()
    }
    assert misfit["latent mean"] <= 0.5
    assert misfit["not projected sample"] > 1
    assert found["latent mean"].spread is not None
    assert found["not projected sample"].spread is None


def test_a_texture_is_refused_before_the_first_case(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="texture is not defined for a latent diffusion model"):
        load_models(settings_of(tmp_path, models=(ModelMethods(folder),)))
