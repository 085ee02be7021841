"""Issue 28, item 4: what each correction around the embedded networks is worth."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from lamella.embedded import model as steps
from lamella.embedded.model import EmbeddedModel

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


@pytest.fixture(scope="module")
def corrections() -> ModuleType:
    import corrections

    return corrections


def test_each_correction_is_off_inside_and_on_again_after(corrections: ModuleType, small_model: EmbeddedModel) -> None:
    own = {name: getattr(steps, name) for name in ("scale_to_noise", "level_noise", "match_noise_texture")}
    for one in corrections.CORRECTIONS:
        with corrections.without(one, small_model) as changed:
            for name, value in one.constants.items():
                assert getattr(changed.calibration, name) == value
            assert all(getattr(steps, name) is instead for name, instead in one.left_out.items())
        assert {name: getattr(steps, name) for name in own} == own
    every = set(vars(small_model.calibration))
    assert every == {name for one in corrections.CORRECTIONS for name in one.constants}, "every constant has its row"


def test_worth_is_the_loss_without_it_and_only_above_a_threshold(corrections: ModuleType) -> None:
    on = {"psnr_db": 30.0, "noise_in_plane": 1.02, "roughness": 0.9}
    off = {"psnr_db": 29.5, "noise_in_plane": 0.97, "roughness": 0.9}
    (share,) = [one for one in corrections.CORRECTIONS if one.name == "noise levels per slice"]
    kept = {"case": {one.name: dict.fromkeys(one.modes, on) for one in corrections.CORRECTIONS}}
    kept["case"][share.name]["texture"] = off
    lost = corrections.worth(kept, share, "texture")
    assert lost == {
        "psnr_db": pytest.approx(0.5),
        "noise_in_plane": pytest.approx(0.01),
        "roughness": pytest.approx(0.0),
    }
    rows = [line for line in corrections.table(kept).splitlines() if share.name in line]
    assert [row.endswith("yes |") for row in rows] == [True, False]


def test_intervals_count_by_their_distance_from_what_they_claim(corrections: ModuleType) -> None:
    assert corrections.distances({"inside_50": 47.0, "inside_80": 80.0, "inside_95": 98.0}) == {
        "interval_pp": pytest.approx(2.0)
    }
