"""Chest, head and test object made by code: `paint_phantom` paints, `write_phantom_study` writes DICOM.

`phantom_nodules` lists the nodules of a chest.

Nothing of a patient is in it. The anatomy depends on the seed alone and is fixed in LPS millimetres; the settings
choose the grid that looks at it. Thin slices only: thick ones are made from thin ones by `lamella.physics.slice_operator`.
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
    """The phantom of `settings.region`: float32 HU, the same for the same settings."""
    painters = {"chest": thorax_phantom, "head": head_phantom, "solids": solids_phantom}
    return painters[settings.region](settings)
