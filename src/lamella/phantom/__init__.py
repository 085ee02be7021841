"""Chest, head and test objects made by code: `paint_phantom` paints, `write_phantom_study` writes DICOM.

`phantom_nodules` lists the nodules of a chest.

It holds nothing of a patient. The anatomy depends on the seed alone and is fixed in LPS millimetres; the settings choose the
grid on which it is sampled. Thin slices only: `lamella.physics` makes thick slices from thin ones.
"""

import numpy as np

from lamella.phantom.canvas import GAS_HU, Canvas
from lamella.phantom.dicom import write_phantom_study
from lamella.phantom.head import paint_head
from lamella.phantom.metal import paint_metal
from lamella.phantom.noise import add_noise
from lamella.phantom.plates import paint_plates
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.shapes import Grid
from lamella.phantom.solids import paint_solids
from lamella.phantom.targets import paint_targets
from lamella.phantom.thorax import Nodule, paint_chest, phantom_nodules
from lamella.volume import AIR_HU, Volume

__all__ = ["Nodule", "PhantomSettings", "paint_phantom", "phantom_nodules", "write_phantom_study"]

_PAINTERS = {
    "chest": paint_chest,
    "head": paint_head,
    "metal": paint_metal,
    "plates": paint_plates,
    "solids": paint_solids,
    "targets": paint_targets,
}


def paint_phantom(settings: PhantomSettings) -> Volume:
    """The phantom of `settings.region`: float32 HU from -1024 to `highest_hu`, the same for the same settings."""
    grid = Grid.of(settings.geometry, settings.edge_mm)
    hu = np.full(settings.shape, GAS_HU, dtype=np.float32)
    _PAINTERS[settings.region](Canvas(hu, grid), settings)
    if settings.noise_hu > 0:
        add_noise(hu, grid, settings.noise_hu, np.random.default_rng([settings.seed, 4]), settings.edge_mm)
    if settings.round_field:
        y, x = (np.linspace(-1.0, 1.0, 2 * n + 1)[1::2] for n in settings.shape[1:])
        hu[:, np.hypot(y[:, None], x) > 1.0] = AIR_HU
    return Volume(np.clip(hu, AIR_HU, settings.highest_hu, out=hu), settings.geometry)
