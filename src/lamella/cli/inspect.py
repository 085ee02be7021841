"""`lamella inspect`: what is in a source, and what would be refused and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lamella.cli.options import Debug, Json, Quiet, Source
from lamella.errors import RefusedInput

if TYPE_CHECKING:
    from lamella.dicom.read import SeriesSummary
    from lamella.source import Inspection


def inspect(source: Source, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Say what SOURCE holds and what would be refused, and why.

    Exit code 3 where `lamella thin SOURCE` would be refused.
    """
    from lamella.source import inspect_source

    found = inspect_source(source)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    elif not quiet:
        print(_text(found))
    if found.refusal is not None:
        raise RefusedInput(found.refusal)


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
    ]
    lines = [f"\n  {one.modality or 'NIfTI'} {one.uid}".rstrip(), "    " + ", ".join(fact for fact in facts if fact)]
    lines += [f"    note: {note}" for note in one.notes]
    lines.append(f"    refused: {one.refusal}" if one.refusal else "    readable")
    return "\n".join(lines)
