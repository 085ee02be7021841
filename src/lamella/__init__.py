"""Lamella: thick-slice CT to thin-slice CT.

    import lamella

    result = lamella.thin(lamella.read("study/"), spacing_mm=1.0)
    lamella.write(result, "study-1mm/")

`import lamella` loads neither torch nor numpy; the first use of a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamella.api import inspect as inspect
    from lamella.api import read as read
    from lamella.api import read_series as read_series
    from lamella.api import thin as thin
    from lamella.api import write as write
    from lamella.errors import LamellaError as LamellaError
    from lamella.errors import ModelError as ModelError
    from lamella.errors import NonFiniteError as NonFiniteError
    from lamella.errors import RefusedInput as RefusedInput
    from lamella.errors import UsageError as UsageError
    from lamella.models.registry import load_model as load_model
    from lamella.nifti.memory import from_nibabel as from_nibabel
    from lamella.nifti.memory import from_simpleitk as from_simpleitk
    from lamella.physics.simulate import simulate_thick as simulate_thick
    from lamella.volume import Geometry as Geometry
    from lamella.volume import Volume as Volume
    from lamella.workflow.study import StudyResult as StudyResult

__version__ = "0.1.0"

RESEARCH_ONLY = "For research use only. Not a medical device. Not for diagnosis."
"""What every result and every page says."""

_HOMES = {
    "api": ("inspect", "read", "read_series", "thin", "write"),
    "errors": ("LamellaError", "ModelError", "NonFiniteError", "RefusedInput", "UsageError"),
    "models.registry": ("load_model",),
    "nifti.memory": ("from_nibabel", "from_simpleitk"),
    "physics.simulate": ("simulate_thick",),
    "volume": ("Geometry", "Volume"),
    "workflow.study": ("StudyResult",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["RESEARCH_ONLY", "__version__", *_HOME_OF]


def __getattr__(name: str) -> object:
    """Load what is asked for on first use: `lamella --help` and `lamella inspect` must not pay for torch."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'lamella' has no attribute {name!r}")
    found: object = getattr(import_module(f"lamella.{_HOME_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
