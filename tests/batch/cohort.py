"""A folder of small studies, some of them broken, and what a batch leaves of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.dicom_builder import body_hu, build_series

from lamella.batch.record import BatchRecord, read_records

ROOT = "1.2.826.0.1.3680043.8.498"
BROKEN = (3, 5, 7)
PLANTED = "ZEBROWSKI"
"""A name that stands in every text of the headers and in file names."""


def series_uid(number: int) -> str:
    return f"{ROOT}.{number}.1"


def build_cohort(folder: Path, count: int, broken: tuple[int, ...] = ()) -> Path:
    """Studies 1 to `count` of 6 slices of 48 x 48; one slice is missing, empty or cut off where broken."""
    words = ("PatientName", "PatientID", "SeriesDescription", "StudyDescription", "BodyPartExamined", "ImageComments")
    for number in range(1, count + 1):
        study = folder / f"{PLANTED}-{number:03d}"
        build_series(
            study,
            body_hu(6, 48, seed=number),
            series_uid=series_uid(number),
            study_uid=f"{ROOT}.{number}",
            tags=dict.fromkeys(words, PLANTED) | {"AccessionNumber": PLANTED, "StudyID": PLANTED},
            prefix=f"{PLANTED}_",
        )
    for place, number in enumerate(broken):
        slices = sorted((folder / f"{PLANTED}-{number:03d}").iterdir())
        if place % 3 == 0:
            slices[2].unlink()
        elif place % 3 == 1:
            slices[1].write_bytes(b"")
        else:
            slices[3].write_bytes(slices[3].read_bytes()[:-3000])
    return folder


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "lamella", "batch", *map(str, words)]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=300)


def hashes(record: BatchRecord) -> dict[str, str]:
    return {one.series: one.sha256 for one in record.cases if one.state == "done"}


def whole(out: Path) -> BatchRecord:
    return read_records(out / "batch.json")


def states(folder: Path) -> dict[str, tuple[int, str]]:
    """(time of change, SHA-256) of every file."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
