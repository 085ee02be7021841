"""Lamella from Python; `import lamella` offers what is here.

>>> import numpy as np
>>> import lamella
>>> thick = lamella.Volume.from_array(
...     np.full((6, 32, 32), -1000, np.int16), spacing_mm=5.0, thickness_mm=5.0, pixel_mm=0.7
... )
>>> model = lamella.load_model()
>>> result = lamella.thin(thick, spacing_mm=2.5, model=model)
>>> result.volume
Volume(int16, Geometry(12 x 32 x 32, 2.5 mm thick every 2.5 mm, pixel 0.7 x 0.7 mm))
>>> result.report["output"]["slices"]
12
"""

from __future__ import annotations

from dataclasses import fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

from lamella.dicom.spread_map import check_map_writable
from lamella.dicom.write import check_writable
from lamella.errors import UsageError
from lamella.models.registry import load_model
from lamella.sources.source import inspect_source, read_source
from lamella.thinning.model import ThinModel
from lamella.thinning.result import Progress, silent
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin as thin_volume
from lamella.volume import Volume
from lamella.workflow.outputs import (
    Compression,
    check_compression,
    check_spread,
    is_nifti_name,
    refuse_others_slices,
    refuse_source,
    write_result,
)
from lamella.workflow.study import StudyResult, filled_in, plan_study, study_result

read = read_series = read_source
inspect = inspect_source


def thin(
    volume: Volume,
    *,
    spacing_mm: float | None = None,
    slices: int | None = None,
    like: Volume | None = None,
    output_thickness_mm: float | None = None,
    model: str | Path | ThinModel = "embedded",
    progress: Progress = silent,
    **settings: Any,
) -> StudyResult:
    """Thin a volume. Without `spacing_mm`, `slices` and `like`, the slices are 1 mm apart.

    Args:
        volume: thick slices.
        spacing_mm: distance between thin slices.
        slices: number of thin slices, instead of `spacing_mm`.
        like: a series of the same scan whose slice positions are used, instead of `spacing_mm`.
        output_thickness_mm: thickness of thin slices that overlap, larger than the spacing; None: as thick as they are apart.
        model: name of a shipped model, or a model folder; or what `load_model` returns, to load it only once.
        progress: called with (stage, fraction done).
        **settings: fields of `ThinSettings`: `mode` ("mean", "texture" or "sample"), `steps`, `samples`, `seed`, `spread`,
            `device`, `precision`, `memory_gb` and more.

    Returns:
        `volume` and `samples` in int16 HU, `spread` if asked for, and the `report` that the command writes. The report's
        `output` has the UID of the series that `write` makes.

    Raises:
        LamellaError: one of its subclasses; see `lamella.errors`.
    """
    for given in (volume, *([] if like is None else [like])):
        if not isinstance(given, Volume):
            raise UsageError(
                f"thin needs a lamella.Volume. Found {type(given).__name__}. Make one with lamella.read, "
                "lamella.Volume.from_array, lamella.from_nibabel or lamella.from_simpleitk."
            )
    chosen = load_model(model) if isinstance(model, str | Path) else model
    asked = filled_in(ThinSettings(**settings), chosen)
    study = plan_study(
        volume,
        chosen,
        asked,
        spacing_mm=spacing_mm,
        slices=slices,
        like=like,
        output_thickness_mm=output_thickness_mm,
    )
    return study_result(study, thin_volume(volume, chosen, study.grid, asked, progress, study.plan, study.bridged))


def write(
    result: StudyResult | Volume,
    path: str | Path,
    *,
    spread: str | Path | None = None,
    compress: Compression | None = None,
    overwrite: bool = False,
) -> None:
    """Write a result as `lamella thin` does: labelled and checked; the whole result or nothing.

    Args:
        result: what `thin` returned; or a volume, which can only become NIfTI.
        path: a folder for a DICOM series, or a file name that ends in .nii or .nii.gz. NIfTI gets a JSON sidecar beside it.
        spread: a file for the result's spread: NIfTI, or a name that ends in .dcm for a DICOM Parametric Map.
        compress: "jpegls" or "j2k" compresses the pixels of a DICOM series without loss.
        overwrite: replace an earlier result.

    Raises:
        UsageError: `path` exists already, or is the source; or `path` is a folder, and the volume has no DICOM header.
        RefusedInput: the source's header cannot be copied.
        LamellaError: no room on the disk, or the source has no DICOM header.
    """
    output, beside = Path(path), None
    check_compression(compress, output)
    if isinstance(result, Volume):
        if not is_nifti_name(output) or spread is not None:
            raise UsageError(
                f"A volume alone becomes a single NIfTI file. Found {output}. Choose a name that ends in .nii or .nii.gz, "
                "or write what `thin` returned."
            )
        write_result(output, [result], result, (), overwrite=overwrite)
        return
    if spread is not None:
        if result.spread is None:
            raise UsageError("The result has no spread. Thin with spread=True.")
        check_spread(Path(spread), {}, output, overwrite=overwrite, option="spread")
        if not is_nifti_name(Path(spread)):
            check_map_writable(result.source, result.spread.geometry, result.derivations[0])
        beside = (Path(spread), result.spread)
    refuse_others_slices(output)
    refuse_source(output, result.source)
    if not is_nifti_name(output):
        check_writable(result.source, result.volume.geometry, result.derivations[0])
    settings = result.report["settings"]
    write_result(
        output,
        result.samples,
        result.source,
        result.derivations,
        beside,
        settings=settings,
        overwrite=overwrite,
        compress=compress,
    )


_given = [one for one in signature(thin).parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
_settings = [Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default) for one in fields(ThinSettings)]
thin.__signature__ = Signature([*_given, *_settings])  # type: ignore[attr-defined]  # for `help` and the pages made of it
