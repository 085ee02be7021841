"""A chest made by code: `thorax_phantom` paints, `phantom_nodules` lists nodules, `write_phantom_study` writes DICOM.

Nothing of a patient is in it. The anatomy depends on the seed alone and is fixed in LPS millimetres; the settings
choose the grid that looks at it. Thin slices only: thick ones are made from thin ones by `lamella.slices`.
"""

from lamella.data.phantom.dicom import write_phantom_study
from lamella.data.phantom.thorax import Nodule, PhantomSettings, phantom_nodules, thorax_phantom

__all__ = ["Nodule", "PhantomSettings", "phantom_nodules", "thorax_phantom", "write_phantom_study"]
