"""Chest, head and test object made by code: `paint_phantom` paints, `write_phantom_study` writes DICOM.

`phantom_nodules` lists the nodules of a chest.

It holds nothing of a patient. The anatomy depends on the seed alone and is fixed in LPS millimetres; the settings choose the
grid on which it is sampled. Thin slices only: `lamella.physics` makes thick slices from thin ones.
"""

from lamella.phantom.dicom import write_phantom_study
from lamella.phantom.head import head_phantom
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.solids import solids_phantom
from lamella.phantom.thorax import Nodule, phantom_nodules, thorax_phantom
from lamella.volume import Volume

__all__ = [
    "Nodule",
    "PhantomSettings",
    "head_phantom",
    "paint_phantom",
    "phantom_nodules",
    "solids_phantom",
    "thorax_phantom",
    "write_phantom_study",
]


def paint_phantom(settings: PhantomSettings) -> Volume:
    """The phantom of `settings.region`: float32 HU in [-1024, 3071], the same for the same settings."""
    painters = {"chest": thorax_phantom, "head": head_phantom, "solids": solids_phantom}
    return painters[settings.region](settings)
