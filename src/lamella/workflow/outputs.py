"""Where results go: a DICOM series, NIfTI, JSON or a picture; each appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from lamella.errors import UsageError
from lamella.thinning.result import Progress, silent

if TYPE_CHECKING:
    from lamella.dicom.labels import Derivation
    from lamella.volume import Volume

Compression = Literal["jpegls", "j2k"]
"""Of DICOM results, without loss."""

NIFTI = (".nii", ".nii.gz")
SPREAD = (*NIFTI, ".dcm")
"""Suffixes of a spread; the last is a DICOM Parametric Map."""

_SLICE = "IM_[0-9][0-9][0-9][0-9][0-9].dcm"
REPLACEABLE = (_SLICE, f"sample-[0-9][0-9]/{_SLICE}", f"sample-[0-9][0-9][0-9]/{_SLICE}")
"""What a folder of results may hold to be replaced."""

_MARK = b"Lamella"
"""Stands in every DICOM file that Lamella writes, as its contributing equipment."""


def is_nifti_name(path: Path) -> bool:
    """Whether a result of this name is NIfTI; everything else is a folder."""
    return path.name.lower().endswith(NIFTI)


def counted(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """What takes (done, in all) of a stage."""
    return lambda done, total: progress(stage, done / max(total, 1))


def check_result(
    output: Path, inputs: Mapping[str, Path], *, overwrite: bool, compress: Compression | None = None
) -> None:
    """Refuse a main OUTPUT that cannot or must not be written, before any work.

    Args:
        output: where the result shall appear.
        inputs: what is read, by its name in messages; SOURCE among them.
        overwrite: an earlier result may be replaced.
        compress: what the pixels shall be compressed with.

    Raises:
        UsageError: SOURCE does not exist, or is NIfTI and OUTPUT is not; see `lamella.files.output_checks.check_output`;
            or OUTPUT holds slices that Lamella did not write, or is NIfTI and shall be compressed like DICOM.
    """
    check_compression(compress, output)
    from lamella.files.output_checks import check_output
    from lamella.sources.source import kind_of

    source = inputs["SOURCE"]
    if not source.exists():
        raise UsageError(f"SOURCE does not exist: {source}. Expected a DICOM folder, ZIP or file, or NIfTI.")
    if kind_of(source) == "nifti" and not is_nifti_name(output):
        raise UsageError(
            f"SOURCE is NIfTI, which lacks what a DICOM series needs. Found OUTPUT {output}, expected a name ending in "
            ".nii or .nii.gz."
        )
    folder = not is_nifti_name(output)
    for called, given in _with_sidecars(inputs).items():
        check_output(output, given, overwrite=overwrite, folder=folder, replaceable=REPLACEABLE, called=called)
        if not folder:
            _check_sidecar(output, given, called)
    refuse_others_slices(output)


def check_compression(compress: str | None, output: Path) -> None:
    """Refuse a compression that is unknown, or that OUTPUT cannot have.

    Raises:
        UsageError: with the reason.
    """
    if compress not in (None, *get_args(Compression)):
        raise UsageError(f"Unknown compression {compress!r}. Expected one of {', '.join(get_args(Compression))}.")
    if compress is not None and is_nifti_name(output):
        raise UsageError(
            f"--compress is for DICOM results. Found OUTPUT {output}. A name ending in .nii.gz makes compressed NIfTI."
        )


def _with_sidecars(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The inputs, and the sidecars that are read beside them."""
    from lamella.nifti.sidecar import sidecar_path

    found = {f"the sidecar of {called}": sidecar_path(given) for called, given in inputs.items()}
    return {**inputs, **{called: path for called, path in found.items() if path is not None and path.is_file()}}


def _check_sidecar(output: Path, given: Path, called: str) -> None:
    """Refuse a NIfTI OUTPUT whose sidecar would replace an input, or lies there without it."""
    from lamella.files.atomic import recover
    from lamella.files.output_checks import refuse_alone
    from lamella.nifti.sidecar import sidecar_path

    sidecar = sidecar_path(output)
    assert sidecar is not None, "the name of OUTPUT is that of NIfTI"
    if sidecar.resolve() == given.resolve():
        raise UsageError(
            f"The sidecar of OUTPUT is {called}: {sidecar}. An input is never replaced. Choose another OUTPUT."
        )
    if sidecar.exists() and not output.exists():
        recover(output)
    refuse_alone(output, sidecar)


def refuse_others_slices(output: Path) -> None:
    """Refuse to replace DICOM that Lamella did not write; scanners, too, may call their files as it does.

    Raises:
        UsageError: naming the first such file.
    """
    for first in {file.parent: file for file in sorted(output.rglob("*.dcm"), reverse=True)}.values():
        if _MARK not in first.read_bytes():
            raise UsageError(
                f"OUTPUT holds DICOM that Lamella did not write: {first}. It is never replaced. Choose another OUTPUT."
            )


def refuse_source(output: Path, source: Volume) -> None:
    """Refuse to replace the series that a result was made from, where that was written by Lamella itself.

    Raises:
        UsageError: a file of that series is in `output`.
    """
    import pydicom

    uid = getattr(source.header, "series_uid", None)
    for file in sorted(output.rglob("*.dcm")) if uid else ():
        if pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID == uid:
            raise UsageError(
                f"OUTPUT holds the source: {file} is of its series. An input is never replaced. Choose another OUTPUT."
            )


def check_side_file(
    option: str, path: Path, suffixes: tuple[str, ...], inputs: Mapping[str, Path], output: Path, *, overwrite: bool
) -> None:
    """The same for a file asked for beside OUTPUT: report, preview or spread."""
    from lamella.files.output_checks import check_output
    from lamella.nifti.sidecar import sidecar_path

    if not path.name.lower().endswith(suffixes):
        raise UsageError(f"{option} needs a name ending in {' or '.join(suffixes)}. Found {path}.")
    place, result = path.resolve(), output.resolve()
    if place == result or result in place.parents:
        raise UsageError(f"{option} lies at or inside OUTPUT: {path}. Choose a name outside {output}.")
    sidecar = sidecar_path(output)
    if sidecar is not None and place == sidecar.resolve():
        raise UsageError(f"{option} has the name of OUTPUT's sidecar: {path}. Choose another name.")
    for called, given in _with_sidecars(inputs).items():
        check_output(path, given, overwrite=overwrite, folder=False, called=called)


def check_spread(
    path: Path, inputs: Mapping[str, Path], output: Path, *, overwrite: bool, option: str = "--spread"
) -> None:
    """The same for a spread, which is NIfTI or, of DICOM alone, a Parametric Map.

    Raises:
        UsageError: as `check_side_file`; highdicom is not installed, SOURCE is NIfTI, or Lamella did not write what is there.
    """
    from lamella.machine.extras import require
    from lamella.sources.source import kind_of

    check_side_file(option, path, SPREAD, inputs, output, overwrite=overwrite)
    if is_nifti_name(path):
        return
    require("map", "A spread as a DICOM Parametric Map")
    if "SOURCE" in inputs and kind_of(inputs["SOURCE"]) == "nifti":
        raise UsageError(
            f"SOURCE is NIfTI, which lacks what a DICOM file needs. Found {option} {path}, expected a name ending in .nii or "
            ".nii.gz."
        )
    if path.exists() and _MARK not in path.read_bytes():
        raise UsageError(
            f"{option} is DICOM that Lamella did not write: {path}. It is never replaced. Choose another name."
        )


def write_result(
    output: Path,
    volumes: Sequence[Volume],
    source: Volume,
    derivations: Sequence[Derivation],
    spread: tuple[Path, Volume] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool,
    compress: Compression | None = None,
    progress: Progress = silent,
) -> None:
    """Write one volume, or several samples, and check what was written before it appears.

    Args:
        output: name ending in .nii or .nii.gz, or a folder; several volumes make a 4-D file or one folder each.
        volumes: int16 HU.
        source: what they came from.
        derivations: what the labels of the result say, one for each volume.
        spread: where a standard deviation goes, and itself.
        settings: of the run, for the sidecar of NIfTI.
        overwrite: replace an earlier result.
        compress: what the pixels of DICOM are compressed with, without loss.
        progress: told about the stage "write".

    Raises:
        LamellaError: no room on the disk, or a DICOM series is wanted of what comes from none.
    """
    from lamella.dicom.spread_map import write_spread_map
    from lamella.dicom.verify import verify_written
    from lamella.dicom.write import write_series
    from lamella.files.atomic import staged_file, staged_folder, staged_pair
    from lamella.nifti.image import write_nifti
    from lamella.nifti.sidecar import sidecar_path
    from lamella.workflow.nifti_labels import nifti_label

    progress("write", 0.0)
    with ExitStack() as stack:
        if spread is not None:
            # written first and renamed last: where there is no room for it, nothing is at OUTPUT either
            file = stack.enter_context(staged_file(spread[0], overwrite=overwrite))
            if is_nifti_name(spread[0]):
                label = nifti_label([spread[1]], source, derivations, settings, "predicted standard deviation in HU")
                write_nifti(file, [spread[1]], source.header, label)
            else:
                write_spread_map(file, spread[1], source, derivations[0])
        if (beside := sidecar_path(output)) is not None:
            label = nifti_label(volumes, source, derivations, settings)
            image, sidecar = stack.enter_context(staged_pair(output, beside, overwrite=overwrite))
            sidecar.write_text(label.json(), encoding="utf-8")
            write_nifti(image, volumes, source.header, label)
            return
        folder = stack.enter_context(staged_folder(output, overwrite=overwrite, replaceable=REPLACEABLE))
        for number, (volume, derivation) in enumerate(zip(volumes, derivations, strict=True), start=1):
            place = folder if len(volumes) == 1 else folder / f"sample-{number:02d}"
            place.mkdir(exist_ok=True)
            write_series(place, volume, source, derivation, counted(progress, "write"), compress)
            verify_written(place, volume)


def write_json(output: Path, content: dict[str, Any], *, overwrite: bool) -> None:
    """Write a report; a number that is not finite becomes null, since JSON has none."""
    from lamella.files.atomic import staged_file

    finite = json.loads(json.dumps(content), parse_constant=lambda name: None)
    with staged_file(output, overwrite=overwrite) as file:
        file.write_text(json.dumps(finite, indent=2, allow_nan=False) + "\n", encoding="utf-8")
