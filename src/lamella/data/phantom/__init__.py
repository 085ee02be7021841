"""Chest and head made by code: `paint_phantom` paints, `phantom_nodules` lists a chest's nodules, `write_phantom_study`
writes DICOM.

Nothing of a patient is in it. The anatomy depends on the seed alone and is fixed in LPS millimetres; the settings
choose the grid that looks at it. Thin slices only: thick ones are made from thin ones by `lamella.slices`.
"""

from lamella.data.phantom.dicom import write_phantom_study
from lamella.data.phantom.head import head_phantom
from lamella.data.phantom.settings import PhantomSettings
from lamella.data.phantom.thorax import Nodule, phantom_nodules, thorax_phantom
from lamella.volume import Volume

__all__ = [
    "Nodule",
    "PhantomSettings",
    "head_phantom",
    "paint_phantom",
    "phantom_nodules",
    "thorax_phantom",
    "write_phantom_study",
]


def paint_phantom(settings: PhantomSettings) -> Volume:
    """The phantom of `settings.region`: float32 HU, the same for the same settings."""
    return head_phantom(settings) if settings.region == "head" else thorax_phantom(settings)
