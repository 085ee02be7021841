"""From ZIPs of DICOM to a prepared data set: one job a scan, in parallel, resumable, safe against a second run (SPEC A3).

Every job leaves `jobs/<key>.json`: the case it became, or why it was rejected. The key (`jobs.py`) changes with the source's
files and settings, so the same command skips what is done and no more. A job in work holds
an advisory lock, which the system releases however its process ends; another run passes over it. Nothing is unpacked to disk:
members of a ZIP are read in place.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from filelock import BaseFileLock

from lamella.data.cache import CASE, open_case, write_case
from lamella.data.find_pair import Found, check_one_scan, crop_to_common, find_pair, header_of
from lamella.data.index import CASES, INDEX, SPLIT, Entry, frozen_split, refuse_other_shares
from lamella.data.jobs import Job, find_jobs, hashed
from lamella.data.prepare_settings import PrepareSettings
from lamella.dicom.header import SeriesHeader
from lamella.dicom.read import survey
from lamella.errors import LamellaError, RefusedInput
from lamella.files.atomic import staged_file
from lamella.files.lock import lock
from lamella.machine.extras import require
from lamella.sources.source import kind_of, read_source

JOBS, LOCKS, REJECTS = "jobs", "locks", "rejects.csv"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Prepared:
    """What a run came to.

    Attributes:
        cases: in the data set now.
        made: of them, by this run.
        rejected: (source, reason).
        failed: (source, reason): not the source's fault; the same command tries again.
        elsewhere: jobs that another run is at.
        unassigned: patients in no split, since they came after it was frozen.
        locked: the file system has locks, so that runs at the same time keep out of each other's way.
    """

    cases: int
    made: int
    rejected: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    elsewhere: int
    unassigned: int
    locked: bool


def prepare(settings: PrepareSettings, progress: Progress = lambda stage, fraction: None) -> Prepared:
    """Prepare a data set, or go on with it.

    Raises:
        UsageError: no data, nothing to do in it, or a split that was drawn by other shares; the extra `train` is missing.
    """
    require("train", "A prepared data set")
    out, jobs = Path(settings.out), find_jobs(settings)
    refuse_other_shares(out, settings.split)
    for name in (JOBS, LOCKS, CASES):
        (out / name).mkdir(parents=True, exist_ok=True)
    mine = jobs[settings.share :: settings.shares]
    todo = [job for job in mine if not _is_done(out, job, settings.retry)]
    current = frozenset(job.key for job in jobs)
    made, elsewhere, failed = 0, 0, []
    with ProcessPoolExecutor(settings.workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(prepare_one, job, settings, current): job for job in todo}
        try:
            for number, one in enumerate(as_completed(running), 1):
                try:
                    state = one.result()
                    made, elsewhere = made + (state == "made"), elsewhere + (state == "elsewhere")
                except Exception as error:
                    failed.append((running[one].path, f"{type(error).__name__}: {error}"))
                progress("prepare", number / len(todo))
        except BaseException:  # an interrupted run ends with the jobs in work, not with those that wait
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    with _claimed(out / LOCKS / "index", wait=True) as held:  # so that a slower run never overwrites a newer list
        entries, rejected = _listed(out, jobs)
        whole = all(_record(out, job) is not None for job in jobs)
        unassigned = _write_index(out, entries, rejected, settings, whole=whole)
    return Prepared(len(entries), made, tuple(rejected), tuple(failed), elsewhere, unassigned, held is not None)


def _is_done(out: Path, job: Job, retry: bool) -> bool:
    record = _record(out, job)
    if record is None:
        return False
    return (out / CASES / record["case"] / CASE).is_file() if record.get("case") else not retry


def _record(out: Path, job: Job) -> dict[str, Any] | None:
    try:
        return dict(json.loads((out / JOBS / f"{job.key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def prepare_one(job: Job, settings: PrepareSettings, current: frozenset[str]) -> str:
    """One job, in a process of its own: "made", "rejected" or "elsewhere"; `current` are the keys of all jobs there are."""
    out = Path(settings.out)
    with ExitStack() as claims:
        try:
            claims.enter_context(_claimed(out / LOCKS / job.key))
        except BlockingIOError:
            return "elsewhere"
        if _is_done(out, job, settings.retry):
            return "made"
        try:
            found = _read(job, settings)
            entry = _entry(found.header, job)
            with _claimed(out / LOCKS / entry.case_id, wait=True):
                folder = out / CASES / entry.case_id
                if not _is_delivered_twice(folder, found, current):
                    about: dict[str, Any] = {"job": job.key, "notes": list(found.header.notes)}
                    ids = (entry.case_id, job.category, entry.patient_id)
                    write_case(folder, *ids, found.thin, found.thick, overwrite=True, **about)
        except RefusedInput as error:  # anything else, such as a full disk, is no fault of the source: tried again
            _note(out, job, {"source": job.path, "reason": str(error)})
            return "rejected"
        _note(out, job, {"source": job.path, "case": entry.case_id, **asdict(entry)})
        return "made"


def _read(job: Job, settings: PrepareSettings) -> Found:
    data, entry = Path(settings.data), job.entry
    if entry is None:
        return find_pair(data / job.path, settings.pairs, settings.strict)
    if not entry.thick and _several_series(data / entry.path):
        if entry.thickness_mm is not None:
            raise RefusedInput(
                f"Found thickness_mm {entry.thickness_mm:g} for several series. It says how thick the slices of one are: "
                "name one, or leave it out."
            )
        found = find_pair(data / entry.path, settings.pairs, settings.strict)
    else:
        thin = read_source(data / entry.path, thickness_mm=entry.thickness_mm, strict=settings.strict)
        found = Found(thin, None, header_of(thin))
    thin, thick = found.thin, found.thick
    if max(thin.geometry.spacing_mm, thin.geometry.thickness_mm) > settings.pairs.thin_mm and not entry.any_thickness:
        raise RefusedInput(
            f"The series is not thin. Found slices of {thin.geometry.thickness_mm:g} mm every "
            f"{thin.geometry.spacing_mm:g} mm, expected at most {settings.pairs.thin_mm:g} mm. Set any_thickness to keep it."
        )
    if entry.slices is not None:
        count = thin.geometry.shape[0]
        if entry.slices[1] > count:
            raise RefusedInput(
                f"The series has {count} slices. Found `slices` {entry.slices[0]} to {entry.slices[1]}, expected an end of "
                f"at most {count}."
            )
        thin = thin.part(slice(*entry.slices))
    if entry.thick:
        thick = read_source(data / entry.thick, thickness_mm=entry.thick_thickness_mm, strict=settings.strict)
        check_one_scan(thin, thick)
    return Found(thin, None, found.header) if thick is None else Found(*crop_to_common(thin, thick), found.header)


def _several_series(source: Path) -> bool:
    """Whether a source holds more than one CT that can be read."""
    return kind_of(source) != "nifti" and sum(one.refusal is None for one in survey(source)[0]) > 1


def _is_delivered_twice(folder: Path, found: Found, current: frozenset[str]) -> bool:
    """Whether the case is there from another source of this data set; one without the thick series gives way to a pair."""
    if not (folder / CASE).is_file():
        return False
    try:
        case = open_case(folder)
    except LamellaError:  # damaged: made anew
        return False
    return case.about.get("job") in current and not (found.thick is not None and case.thick is None)


def _entry(header: SeriesHeader, job: Job) -> Entry:
    """The case as the index lists it; ids are hashes, so that neither a name nor a number of the hospital is in them."""
    first = header.slices[0]
    identity = str(first.get("PatientID", "")) or str(first.get("StudyInstanceUID", "")) or job.path
    part = "" if job.entry is None or job.entry.slices is None else f"{job.entry.slices[0]}-{job.entry.slices[1]}"
    return Entry(
        case_id=f"c-{hashed('case', header.series_uid, part)[:12]}",
        category=job.category,
        patient_id=f"p-{hashed('patient', identity)[:12]}",
        split=job.entry.split if job.entry else "",
        part_of=f"s-{hashed('series', header.series_uid)[:12]}" if part else "",
    )


@contextmanager
def _claimed(path: Path, *, wait: bool = False) -> Iterator[BaseFileLock | None]:
    """See `lamella.files.lock.lock`; where the file system has no locks, nothing keeps another run away."""
    held = lock(path, wait=wait)
    try:
        yield held
    finally:
        if held is not None:
            held.release()


def _note(out: Path, job: Job, record: dict[str, Any]) -> None:
    with staged_file(out / JOBS / f"{job.key}.json", overwrite=True) as file:
        file.write_text(json.dumps(record), encoding="utf-8")


def _listed(out: Path, jobs: Sequence[Job]) -> tuple[list[Entry], list[tuple[str, str]]]:
    """What all jobs, of this run and others, have come to so far."""
    entries: dict[str, Entry] = {}
    rejected = []
    for job in jobs:
        record = _record(out, job)
        if record is None:
            continue
        if record.get("case"):
            names = [one.name for one in fields(Entry)]
            entries[record["case"]] = Entry(**{name: record[name] for name in names})
        else:
            rejected.append((str(record["source"]), str(record["reason"])))
    return [entries[name] for name in sorted(entries)], rejected


def _write_index(
    out: Path, entries: list[Entry], rejected: list[tuple[str, str]], settings: PrepareSettings, *, whole: bool
) -> int:
    """Index, rejects, and (once every job has an end) the split, which is then frozen."""
    with staged_file(out / REJECTS, overwrite=True) as file, file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(("source", "reason"))
        writer.writerows(rejected)
    if not entries:
        return 0
    splits, unassigned = frozen_split(out, entries, settings.split)
    with staged_file(out / INDEX, overwrite=True) as file:
        file.write_text(json.dumps({"cases": [asdict(one) for one in entries]}, indent=1), encoding="utf-8")
    if whole:
        frozen = {"settings": asdict(settings.split), "patients": dict(sorted(splits.items()))}
        with staged_file(out / SPLIT, overwrite=True) as file:
            file.write_text(json.dumps(frozen, indent=1), encoding="utf-8")
    return unassigned
