"""`lamella demo`: a phantom chest, thickened and thinned, with a truth to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamella.cli.options import Debug, Overwrite, Quiet
from lamella.workflow.progress import Progress

if TYPE_CHECKING:
    from lamella.volume import Volume
    from lamella.workflow.thin_study import Done, Job

_PHANTOM_FILES = ("IM*.dcm",)
_THICK_MM = 5.0


def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the study and the results.")] = Path("demo"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Thin a phantom chest and measure against the truth.

    Writes a thin phantom study, the same thickened to 5 mm, the thinned series, a preview and a report.
    """
    from lamella.cli.degrade import thicken_to
    from lamella.workflow.thin_study import Job, run

    thin_folder, thick_folder = out / "phantom-1mm", out / "phantom-5mm"
    job = Job(
        source=thick_folder,
        output=out / "thin-1mm",
        spacing_mm=1.0,
        report=out / "report.json",
        preview=out / "preview.png",
        overwrite=overwrite,
    )
    _check(out, job, overwrite)
    with Progress(quiet) as progress:
        truth = _phantom(thin_folder, overwrite, progress)
        thicken_to(thin_folder, thick_folder, _THICK_MM, _THICK_MM, "box", None, overwrite, progress)
    done = run(job, quiet=quiet)
    if done is not None and not quiet:
        print(_figures(truth, done))
        print(
            f"\nOpen {job.preview} for the picture. In a DICOM viewer load {thick_folder} and {job.output}\n"
            f"side by side; {thin_folder} is the truth. {job.report} says what was done.\n"
            f"Your own scan: lamella thin YOUR_FOLDER OUT --preview preview.png"
        )


def _check(out: Path, job: Job, overwrite: bool) -> None:
    """Refuse before the phantom is painted what would be refused after."""
    from lamella.files.output_checks import check_output
    from lamella.workflow.outputs import REPLACEABLE, refuse_others_slices

    check_output(out / "phantom-1mm", None, overwrite=overwrite, replaceable=_PHANTOM_FILES)
    for folder in (out / "phantom-5mm", job.output):
        check_output(folder, None, overwrite=overwrite, replaceable=REPLACEABLE)
    for folder in (out / "phantom-1mm", out / "phantom-5mm", job.output):
        refuse_others_slices(folder)
    for file in (job.report, job.preview):
        if file is not None:
            check_output(file, None, overwrite=overwrite, folder=False)


def _phantom(folder: Path, overwrite: bool, progress: Progress) -> Volume:
    from lamella.files.atomic import staged_folder
    from lamella.phantom import PhantomSettings, thorax_phantom, write_phantom_study

    progress.begin("phantom")
    settings = PhantomSettings()
    truth = thorax_phantom(settings)
    with staged_folder(folder, overwrite=overwrite, replaceable=_PHANTOM_FILES) as new:
        write_phantom_study(new, truth, seed=settings.seed)
    progress.finish()
    return truth


def _figures(truth: Volume, done: Done) -> str:
    """RMSE inside the body over the slices that lie on both grids, beside aligned cubic interpolation."""
    import numpy as np

    from lamella.metrics import aligned_cubic, body_mask, rmse_hu

    thin, thick = done.thinned.volume, done.source
    wanted = thin.geometry.centres_mm
    places = np.rint((wanted - truth.geometry.centres_mm[0]) / truth.geometry.spacing_mm).astype(int)
    known = truth.hu[places]
    body = body_mask(known)
    cubic = aligned_cubic(thick.hu, thick.geometry.centres_mm, wanted)
    rows = [(name, rmse_hu(hu, known, body)) for name, hu in (("cubic", cubic), ("Lamella mean", thin.hu))]
    gain = 20 * np.log10(rows[0][1] / rows[1][1])
    return "\n".join(
        [
            "\nAgainst the phantom's own thin slices, inside the body:",
            *(f"  {name:<14}{rmse:6.1f} HU RMSE" for name, rmse in rows),
            f"  gain {gain:+.2f} dB (the phantom is drawn, not scanned: see the README for figures on real CT)",
        ]
    )
