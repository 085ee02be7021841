"""A phantom chest, thickened and thinned again, with a truth to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.files.output_checks import check_output
from lamella.machine.extras import missing
from lamella.thinning.result import Progress, silent
from lamella.workflow.outputs import REPLACEABLE, refuse_others_slices
from lamella.workflow.simulate_thick import ThickRequest, simulate_thick_study
from lamella.workflow.thin_study import ThinRequest, thin_study

if TYPE_CHECKING:
    from lamella.volume import Volume
    from lamella.workflow.study import StudyResult

_PHANTOM_FILES = ("IM*.dcm",)
_THICK_MM = 5.0


@dataclass(frozen=True)
class Demo:
    """What a demonstration leaves.

    Attributes:
        truth: folder of the phantom's thin slices.
        request: what was thinned, and where it went.
        rmse_hu: error inside the body by method, over the slices that lie on both grids.
        gain_db: of Lamella over cubic interpolation.
    """

    truth: Path
    request: ThinRequest
    rmse_hu: dict[str, float]
    gain_db: float


def run_demo(out: Path, *, overwrite: bool = False, progress: Progress = silent) -> Demo:
    """Write a phantom study, the same thickened, the thinned series, a report and, if it can be drawn, a preview into `out`.

    Raises:
        UsageError: a result is there already, or could not be written; nothing was painted then.
    """
    truth, thick, thin, report = (out / name for name in ("phantom-1mm", "phantom-5mm", "thin-1mm", "report.json"))
    preview = None if missing("report") else out / "preview.png"
    for folder, replaceable in ((truth, _PHANTOM_FILES), (thick, REPLACEABLE), (thin, REPLACEABLE)):
        check_output(folder, None, overwrite=overwrite, replaceable=replaceable)
        refuse_others_slices(folder)
    for file in (report, preview):
        if file is not None:
            check_output(file, None, overwrite=overwrite, folder=False)
    progress("phantom", 0.0)
    painted = _phantom(truth, overwrite)
    simulate_thick_study(ThickRequest(truth, thick, _THICK_MM, _THICK_MM, overwrite=overwrite), progress)
    request = ThinRequest(thick, thin, report=report, preview=preview, overwrite=overwrite)
    result = thin_study(request, progress, truth=painted)
    return Demo(truth, request, *_figures(painted, result))


def _phantom(folder: Path, overwrite: bool) -> Volume:
    from lamella.files.atomic import staged_folder
    from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study

    settings = PhantomSettings()
    painted = paint_phantom(settings)
    with staged_folder(folder, overwrite=overwrite, replaceable=_PHANTOM_FILES) as new:
        write_phantom_study(new, painted, seed=settings.seed)
    return painted


def _figures(truth: Volume, result: StudyResult) -> tuple[dict[str, float], float]:
    import numpy as np

    from lamella.metrics import aligned_cubic, body_mask, rmse_hu

    wanted = result.volume.geometry.centres_mm
    places = np.rint((wanted - truth.geometry.centres_mm[0]) / truth.geometry.spacing_mm).astype(int)
    known = truth.hu[places]
    body = body_mask(known)
    cubic = aligned_cubic(result.source.hu, result.source.geometry.centres_mm, wanted)
    rmse = {name: rmse_hu(hu, known, body) for name, hu in (("cubic", cubic), ("Lamella mean", result.volume.hu))}
    return rmse, float(20 * np.log10(rmse["cubic"] / rmse["Lamella mean"]))
