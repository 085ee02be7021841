"""Thin series of a BIDS cohort under the names that BIDS gives them, as a derived data set in OUT."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import lamella
from lamella.batch.case import NIFTI
from lamella.files.atomic import staged_file, staged_pair
from lamella.nifti.sidecar import sidecar_path

_IGNORED = "nifti-*\nseries-*\n[0-9]*\nbatch*\nindex.html\n"
"""What is in OUT and no part of BIDS: folders of cases, records and page."""


def describe_data_set(out: Path) -> None:
    """Write dataset_description.json and .bidsignore, which a derived data set needs."""
    facts = {
        "Name": "Thin CT series by Lamella",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "Lamella", "Version": lamella.__version__}],
    }
    for name, text in (("dataset_description.json", json.dumps(facts, indent=2) + "\n"), (".bidsignore", _IGNORED)):
        with staged_file(out / name, overwrite=True) as file:
            file.write_text(text, encoding="utf-8")


def place_result(out: Path, folder: Path, derived: str) -> None:
    """Link the result of a case, and its sidecar, to where BIDS has it; a copy where the file system has no links."""
    image, result = out / derived, folder / NIFTI
    beside, sidecar = sidecar_path(image), sidecar_path(result)
    assert beside is not None, "the name is that of NIfTI"
    assert sidecar is not None, "the name is that of NIfTI"
    if image.is_file() and beside.is_file() and image.samefile(result) and beside.samefile(sidecar):
        return
    with staged_pair(image, beside, overwrite=True) as places:
        for source, place in zip((result, sidecar), places, strict=True):
            try:
                os.link(source, place)
            except OSError:
                shutil.copyfile(source, place)
