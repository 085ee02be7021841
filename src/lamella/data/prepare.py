"""From ZIPs of DICOM to a prepared data set: one job a scan, in parallel, resumable, safe against a second run (SPEC A3).

Every job leaves `jobs/<key>.json`: the case it became, or why it was rejected. The key is made of the source's relative path,
size and time of change, and of what counts as a pair, so the same command skips what is done and no more. A job in work holds
an advisory lock, which the system releases however its process ends; another run passes over it. Nothing is unpacked to disk:
members of a ZIP are read in place.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lamella.data.cache import CASE, write_case
from lamella.data.find_pair import Found, check_one_scan, crop_to_common, find_pair, header_of, part_of
from lamella.data.index import CASES, INDEX, SPLIT, Entry, frozen_split
from lamella.data.prepare_settings import PrepareSettings, SeriesEntry
from lamella.dicom.header import SeriesHeader
from lamella.errors import RefusedInput, UsageError
from lamella.publish import staged_file
from lamella.source import read_source

JOBS, LOCKS, REJECTS = "jobs", "locks", "rejects.csv"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Job:
    """One source to prepare."""

    key: str
    path: str
    category: str
    entry: SeriesEntry | None = None


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
    """

    cases: int
    made: int
    rejected: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    elsewhere: int
    unassigned: int


def prepare(settings: PrepareSettings, progress: Progress = lambda stage, fraction: None) -> Prepared:
    """Prepare a data set, or go on with it.

    Raises:
        UsageError: no data, or nothing to do in it.
    """
    out, jobs = Path(settings.out), find_jobs(settings)
    for name in (JOBS, LOCKS, CASES):
        (out / name).mkdir(parents=True, exist_ok=True)
    mine = jobs[settings.share :: settings.shares]
    todo = [job for job in mine if not _is_done(out, job, settings.retry)]
    made, elsewhere, failed = 0, 0, []
    with ProcessPoolExecutor(settings.workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(prepare_one, job, settings): job for job in todo}
        for number, one in enumerate(as_completed(running), 1):
            try:
                state = one.result()
                made, elsewhere = made + (state == "made"), elsewhere + (state == "elsewhere")
            except Exception as error:
                failed.append((running[one].path, f"{type(error).__name__}: {error}"))
            progress("prepare", number / len(todo))
    with _claimed(out / LOCKS / "index", wait=True):  # so that a slower run never overwrites a newer list
        entries, rejected = _listed(out, jobs)
        whole = all(_record(out, job) is not None for job in jobs)
        unassigned = _write_index(out, entries, rejected, settings, whole=whole)
    return Prepared(len(entries), made, tuple(rejected), tuple(failed), elsewhere, unassigned)


def find_jobs(settings: PrepareSettings) -> list[Job]:
    """Every source of a preparation, sorted.

    Raises:
        UsageError: the folder is not there, or holds nothing that was asked for.
    """
    data = Path(settings.data)
    if not data.is_dir():
        raise UsageError(f"The data folder {data} does not exist. Set data=PATH.")
    jobs = []
    for category in settings.categories:
        for path in sorted(data.glob(category.zips)):
            name = path.relative_to(data).as_posix()
            stat = path.stat()
            key = _key(name, str(stat.st_size), str(stat.st_mtime_ns), json.dumps(asdict(settings.pairs)))
            jobs.append(Job(key, name, category.name))
    for entry in settings.series:
        if not (data / entry.path).exists():
            raise UsageError(f"There is no {entry.path} in {data}. Look at `series` in the config.")
        key = _key(json.dumps([asdict(entry), asdict(settings.pairs)]))
        jobs.append(Job(key, entry.path, entry.category, entry))
    if not jobs:
        raise UsageError(f"Nothing to prepare in {data}. Look at `categories` and `series` in the config.")
    return jobs


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


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


def prepare_one(job: Job, settings: PrepareSettings) -> str:
    """One job, in a process of its own: "made", "rejected" or "elsewhere"."""
    out = Path(settings.out)
    with _claimed(out / LOCKS / job.key) as mine:
        if not mine:
            return "elsewhere"
        if _is_done(out, job, settings.retry):
            return "made"
        try:
            found = _read(job, settings)
            patient, case_id = _pseudonyms(found.header, job)
            with _claimed(out / LOCKS / case_id, wait=True):
                folder = out / CASES / case_id
                if not (folder / CASE).is_file():  # else the same scan was delivered twice
                    notes = list(found.header.notes)
                    write_case(folder, case_id, job.category, patient, found.thin, found.thick, notes=notes)
        except RefusedInput as error:  # anything else, such as a full disk, is no fault of the source: tried again
            _note(out, job, {"source": job.path, "reason": str(error)})
            return "rejected"
        split = job.entry.split if job.entry else ""
        _note(out, job, {"source": job.path, "case": case_id, **asdict(Entry(case_id, job.category, patient, split))})
        return "made"


def _read(job: Job, settings: PrepareSettings) -> Found:
    data, entry = Path(settings.data), job.entry
    if entry is None:
        return find_pair(data / job.path, settings.pairs)
    thin = read_source(data / entry.path)
    header = header_of(thin)
    if max(thin.geometry.spacing_mm, thin.geometry.thickness_mm) > settings.pairs.thin_mm and not entry.any_thickness:
        raise RefusedInput(
            f"The series is not thin. Found slices of {thin.geometry.thickness_mm:g} mm every "
            f"{thin.geometry.spacing_mm:g} mm, expected at most {settings.pairs.thin_mm:g} mm. Set any_thickness to keep it."
        )
    if entry.slices is not None:
        first, end, _ = slice(*entry.slices).indices(thin.geometry.shape[0])
        thin = part_of(thin, first, end)
    if not entry.thick:
        return Found(thin, None, header)
    thick = read_source(data / entry.thick)
    check_one_scan(thin, thick)
    return Found(*crop_to_common(thin, thick), header)


def _pseudonyms(header: SeriesHeader, job: Job) -> tuple[str, str]:
    """(patient, case): hashes, so that neither a name nor a number of the hospital leaves the source."""
    first = header.slices[0]
    identity = str(first.get("PatientID", "")) or str(first.get("StudyInstanceUID", "")) or job.path
    part = "" if job.entry is None or job.entry.slices is None else f"{job.entry.slices[0]}-{job.entry.slices[1]}"
    if part:
        # Parts of one scan may be in different splits on purpose: the configuration says so, part by part.
        identity = f"{identity}\n{part}"
    return f"p-{_key('patient', identity)[:12]}", f"c-{_key('case', header.series_uid, part)[:12]}"


@contextmanager
def _claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process, and no other, may do a job; with `wait` it does, once the others are done."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


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
            fields = {name: record[name] for name in ("case_id", "category", "patient_id", "split")}
            entries[record["case"]] = Entry(**fields)
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
