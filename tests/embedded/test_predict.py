from __future__ import annotations

import pytest
import torch
from tests.small_model import SUMMARISED, awake, upright

from lamella.embedded.memory_plan import MemoryPlan
from lamella.embedded.predict import Job, SliceFeatures
from lamella.machine.runtime import Runtime
from lamella.physics.grid_pair import GridPair
from lamella.thinning.grid import thin_grid


@pytest.mark.parametrize("asked", [[(0, 4), (2, 7), (6, 13)], [(0, 1), (9, 12), (10, 13)], [(0, 13)]])
def test_features_of_thick_slices_are_the_same_a_slab_at_a_time_as_all_at_once(asked: list[tuple[int, int]]) -> None:
    model = awake(SUMMARISED)
    network = model.mean
    thick = upright((13, 32, 48), 5.0, 5.0)
    grids = GridPair.between(thin_grid(thick, spacing_mm=1.0), thick)
    hu = 100 * torch.randn((13, 32, 48), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network.slice_features(network.features(hu[None, None]), torch.tensor([grids.condition]))[0]
    plan = MemoryPlan(slab_thick=3, slab_thin=4, slab_flow=4, tile=32, peak_bytes=0, available_bytes=0)
    slice_features = SliceFeatures(Job(model, grids, plan, Runtime(torch.device("cpu"), bf16=False)), hu)
    for low, high in asked:
        torch.testing.assert_close(slice_features.between(low, high), whole[:, :, low:high], rtol=1e-4, atol=1e-5)
        # no more than a piece beyond what was asked for; the last one ends with the slices that were late
        assert slice_features.held <= high - low + 3 + network.trunk.reach[0]
