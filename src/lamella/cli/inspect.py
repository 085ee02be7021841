"""`lamella inspect`: what is in a source, a prepared case, a model or a checkpoint, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamella.cli.options import MODEL, REPAIR, SPACING, STRICT, THICKNESS, Debug, Json, Quiet
from lamella.errors import ModelError, RefusedInput
from lamella.physics.repair import RepairKind

if TYPE_CHECKING:
    from lamella.dicom.read import SeriesSummary
    from lamella.sources.source import Inspection
    from lamella.volume import Volume

_CARD, _CHECKPOINT, _CASE = "model.yaml", ".ckpt", "case.json"


def inspect(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="DICOM folder, ZIP or file, or NIfTI. Also a prepared case, a model folder, or a checkpoint (.ckpt).",
        ),
    ],
    thickness_mm: Annotated[float | None, THICKNESS] = None,
    strict: Annotated[bool, STRICT] = False,
    repair: Annotated[RepairKind | None, REPAIR] = None,
    spacing_mm: Annotated[float | None, SPACING] = None,
    model: Annotated[str, MODEL] = "embedded",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the series of SOURCE, and say why one would be refused.

    Notes say what may be wrong, and where a series is outside what the model was trained for. To see how much memory
    thinning needs, use `lamella thin SOURCE OUTPUT --dry-run`. Exit code 3: `lamella thin SOURCE OUTPUT` would refuse
    SOURCE, because it is not one readable CT series or the model cannot thin it. Exit code 1: a damaged model, case or
    checkpoint.
    """
    if (source / _CARD).is_file() or (source.suffix == _CHECKPOINT and source.is_file()):
        from lamella.cli.inspect_model import of_checkpoint, of_model

        facts, text, wrong = of_model(source) if source.is_dir() else of_checkpoint(source)
        _show(facts, text, as_json, quiet)
        if wrong is not None:
            raise ModelError(wrong)
        return
    if (source / _CASE).is_file():
        from lamella.cli.inspect_case import of_case

        _show(*of_case(source), as_json, quiet)
        return
    from lamella.models.shipped import limits_of
    from lamella.sources.source import inspect_source
    from lamella.thinning.grid import check_choice
    from lamella.workflow.suits import check_suits

    check_choice(spacing_mm, None, None)
    limits = limits_of(model)

    def suits(volume: Volume) -> list[str]:
        from lamella.thinning.coverage import outside, scan_facts

        check_suits(volume, limits, spacing_mm)
        return outside(scan_facts(volume), limits.covered)

    found = inspect_source(source, thickness_mm, strict, repair, suits)
    _show(asdict(found), _text(found), as_json, quiet)
    if found.refusal is not None:
        raise RefusedInput(found.refusal)


def _show(facts: dict[str, object], text: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
    elif not quiet:
        print(text)


def _text(found: Inspection) -> str:
    return "\n".join([f"{found.name} ({found.kind}): {len(found.series)} series", *map(_series, found.series)])


def _series(one: SeriesSummary) -> str:
    facts = [
        f"{one.slices} slices of {one.rows} x {one.columns}",
        "" if one.thickness_mm is None else f"{one.thickness_mm:.4g} mm thick",
        "" if one.spacing_mm is None else f"every {one.spacing_mm:.4g} mm",
        "" if one.pixel_mm is None else f"pixel {one.pixel_mm[0]:.4g} x {one.pixel_mm[1]:.4g} mm",
        f"kernel {one.kernel}" if one.kernel else "",
        one.transfer_syntax,
        "synthetic (a model made it)" if one.synthetic else "",
    ]
    lines = [f"\n  {one.modality or 'NIfTI'} {one.uid}".rstrip(), "    " + ", ".join(fact for fact in facts if fact)]
    lines += [f"    note: {note}" for note in (*one.notes, *one.unusual)]
    lines.append(f"    refused: {one.refusal}" if one.refusal else "    readable")
    return "\n".join(lines)
