"""Every study and series below sources, from the headers alone; every file is read once, and hashed on the way."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from lamella.dicom.archive import Archive, Entry, files_archive, open_source
from lamella.dicom.elements import text_of, value_of
from lamella.dicom.parse import quiet_pydicom
from lamella.dicom.read import SeriesSummary, summary_of
from lamella.dicom.series import RawSeries, Scan, scan
from lamella.errors import RefusedInput, UsageError
from lamella.files.atomic import sha256_of
from lamella.files.names import numbered_names
from lamella.nifti.image import geometry_of, is_nifti
from lamella.nifti.sidecar import read_sidecar, sidecar_path
from lamella.physics.repair import RepairKind
from lamella.selection.bids import bids_name
from lamella.selection.series import FoundSeries, Kind
from lamella.sources.source import kind_of

Progress = Callable[[int], None]
"""Called with the number of files that were read."""

_NIFTI = (".nii", ".nii.gz")
_HIDDEN = "."
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
_MISSED = {
    "unlisted": "Not looked into: {}, which this user may not list. Change the permissions; find SOURCE -type d ! -readable "
    "shows where.",
    "linked": "Not looked into: {}, which a link leads to. Give the folders themselves as SOURCE, too; find SOURCE -type l "
    "shows the links.",
}
_KINDS: dict[str, Kind] = {"zip": "zip", "nifti": "nifti"}


@dataclass(frozen=True)
class Reading:
    """How each series will be read; see `lamella.sources.source.read_source`."""

    thickness_mm: float | None = None
    strict: bool = False
    repair: RepairKind | None = None


_PLAIN = Reading()


def find_series(
    sources: Sequence[Path], progress: Progress = lambda files: None, reading: Reading = _PLAIN
) -> list[FoundSeries]:
    """Every series of all sources, sorted by study and series.

    Folders are searched recursively for loose DICOM, ZIPs and NIfTI, hidden folders left out. The loose files of a series may
    lie in several folders. Where a file is damaged, the series beside it in its folder or ZIP are refused, since it may
    belong to one of them. What is found twice with the same content is listed once. Folders that cannot be listed, and linked
    ones that lead out of the sources, are not looked into: one entry of each kind is refused, and counts them.

    Args:
        sources: folders, ZIPs, DICOM files and NIfTI files.
        progress: see `Progress`.
        reading: how they will be read: what is refused then is refused here.

    Raises:
        UsageError: a source does not exist.
    """
    found: list[FoundSeries] = []
    damage: dict[Path, str] = {}
    missed, within = Counter[str](), [source.resolve() for source in sources]
    for source in sources:
        if not source.exists():
            raise UsageError(f"SOURCE does not exist: {source}. Expected a folder, a ZIP, a DICOM or a NIfTI file.")
        for paths in _folders(source, within, missed):
            loose = []
            for path in paths:
                kind = _kind(path, source)
                if kind == "dicom":
                    loose.append(path)
                else:
                    found += _nifti(path, reading) if kind == "nifti" else _zip(path, path == source, reading)
            found += _loose(tuple(loose), damage, source.is_file(), reading) if loose else []
            progress(len(paths))
    found += [_missed(kind, count) for kind, count in missed.items() if count]
    groups: dict[str, list[FoundSeries]] = {}
    for one in found:
        groups.setdefault(one.id, []).append(one)
    return sorted((_joined(group, damage, reading) for group in groups.values()), key=lambda one: (one.study, one.id))


def _folders(source: Path, within: Sequence[Path], missed: Counter[str]) -> Iterator[list[Path]]:
    """The regular files of each folder of a source, in order; or the file that it is. Folders of `_MISSED` are counted."""
    if source.is_file():
        yield [source]
        return
    for root, folders, names in os.walk(source, onerror=lambda error: missed.update(["unlisted"])):
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        places = (Path(root, name).resolve() for name in folders if os.path.islink(os.path.join(root, name)))
        missed["linked"] += sum(not any(place.is_relative_to(one) for one in within) for place in places)
        yield [path for path in (Path(root, name) for name in sorted(names)) if path.is_file()]


def _kind(path: Path, source: Path) -> Kind:
    """By content where a file is given itself; below a folder only names decide what is looked into."""
    if path == source:
        return _KINDS.get(kind_of(path), "dicom")
    name = path.name.lower()
    return "nifti" if name.endswith(_NIFTI) and is_nifti(path) else "zip" if name.endswith(".zip") else "dicom"


@numbered_names()
def _loose(paths: tuple[Path, ...], damage: dict[Path, str], given: bool, reading: Reading) -> list[FoundSeries]:
    """The DICOM series among the files of a folder; the first damaged file, if any, goes into `damage`."""
    digests: dict[Entry, str] = {}
    archive = _hashing(files_archive(paths), digests)
    place = dict(zip(archive.entries, paths, strict=True))
    with quiet_pydicom():
        found = scan(archive, may_be_empty=True)
    if found.damaged:
        damage.setdefault(paths[0].parent, found.damaged[0])
    if not found.series:
        lost = [*found.damaged, *([found.nothing] if given else [])]
        return [_unreadable("dicom", lost[0], paths)] if lost else []
    return [
        _dicom(series, found, "dicom", tuple(place[entry] for entry, _ in series.files), digests, reading)
        for series in found.series
    ]


def _joined(group: list[FoundSeries], damage: dict[Path, str], reading: Reading) -> FoundSeries:
    """One series of all that was found of it: loose files together; ZIPs must hold the same."""
    parts = [one for one in group if one.kind == "dicom" and one.summary.uid]
    rest = [one for one in group if one not in parts]
    if len(parts) > 1:
        files = tuple(sorted(path for part in parts for path in part.files))
        (whole,) = _loose(files, {}, False, reading)
        broken = next((damage[path.parent] for path in files if path.parent in damage), None)
        parts = [whole if broken is None else _refused(whole, broken)]
    first, *others = (*parts, *rest)
    if all(one.content == first.content for one in others):
        return first
    return _refused(first, f"the series {first.id} was found {len(others) + 1} times with different content")


def _refused(series: FoundSeries, reason: str) -> FoundSeries:
    return replace(series, summary=replace(series.summary, refusal=reason))


@numbered_names()
def _zip(path: Path, given: bool, reading: Reading) -> list[FoundSeries]:
    digests: dict[Entry, str] = {}
    try:
        with open_source(path) as opened, quiet_pydicom():
            found = scan(_hashing(opened, digests), may_be_empty=True)
            if not found.series and (found.damaged or given):
                raise RefusedInput((*found.damaged, found.nothing)[0])
            return [_dicom(series, found, "zip", (path,), digests, reading) for series in found.series]
    except RefusedInput as error:
        return [_unreadable("zip", str(error), (path,))]


@numbered_names()
def _nifti(path: Path, reading: Reading) -> list[FoundSeries]:
    beside = sidecar_path(path)
    content = sha256_of(path)
    if beside is not None and beside.is_file():
        content = _digest([content, sha256_of(beside)])
    bids, summary, described, own = bids_name(path.name), _empty(None), "", False
    try:
        sidecar = read_sidecar(path)
        summary = replace(summary, modality=bids.modality if bids else sidecar.modality, synthetic=sidecar.synthetic)
        geometry, described = geometry_of(path, reading.thickness_mm, reading.repair)
        slices, rows, columns = geometry.shape
        summary = replace(
            summary,
            slices=slices,
            rows=rows,
            columns=columns,
            spacing_mm=geometry.spacing_mm,
            thickness_mm=geometry.thickness_mm,
            pixel_mm=geometry.pixel_mm,
            transfer_syntax="NIfTI",
        )
        own = sidecar.own or described.startswith("Lamella ")
    except (RefusedInput, UsageError) as error:
        summary = replace(summary, refusal=str(error))
    return [
        FoundSeries(
            summary,
            id=f"nifti-{content[:16]}",
            study=f"nifti-{content[:16]}",
            kind="nifti",
            content=content,
            ct=summary.modality in ("", "CT"),
            own=own,
            derived=bids.derived if bids else "",
            files=(path,),
        )
    ]


def _dicom(
    series: RawSeries,
    scan: Scan,
    kind: Kind,
    files: tuple[Path, ...],
    digests: dict[Entry, str],
    reading: Reading,
) -> FoundSeries:
    headers = [header for _, header in series.files]
    first = (series.images or series.files)[0][1]
    try:
        summary = summary_of(series, scan, False, reading.thickness_mm, reading.strict, reading.repair)
    except UsageError as error:  # it states another thickness
        summary = replace(summary_of(series, scan), refusal=str(error))
    makers = [str(item.get("Manufacturer", "")) for one in headers for item in _items(one)]
    return FoundSeries(
        summary=replace(
            summary,
            synthetic=any(text_of(header, "SyntheticData") == "YES" for header in headers),
        ),
        id=_named("series", series.uid),
        study=_named("study", text_of(first, "StudyInstanceUID") or series.uid),
        kind=kind,
        content=_digest([digests[entry] for entry, _ in series.files]),
        ct=series.is_ct,
        own="Lamella" in makers,
        image_type=text_of(first, "ImageType"),
        body_part=text_of(first, "BodyPartExamined"),
        description=text_of(first, "SeriesDescription"),
        files=files,
    )


def _named(kind: str, uid: str) -> str:
    """A UID as it is; what is none may be anything, so a hash stands for it."""
    return uid if _UID.fullmatch(uid) else f"{kind}-{hashlib.sha256(uid.encode()).hexdigest()[:16]}"


def _items(header: Dataset) -> Iterable[Dataset]:
    return value_of(header, "ContributingEquipmentSequence") or ()


def _hashing(archive: Archive, digests: dict[Entry, str]) -> Archive:
    """The same archive; whoever reads a whole entry leaves its SHA-256 in `digests`."""

    def hashing(entry: Entry) -> Entry:
        def read(size: int) -> bytes:
            data = entry.read(size)
            if size < 0:
                digests[made] = hashlib.sha256(data).hexdigest()
            return data

        made = replace(entry, read=read)
        return made

    return replace(archive, entries=tuple(map(hashing, archive.entries)))


def _digest(digests: Iterable[str]) -> str:
    """One for several, whatever their order; copies count once."""
    return hashlib.sha256("\n".join(sorted(set(digests))).encode()).hexdigest()


def _unreadable(kind: Kind, reason: str, files: tuple[Path, ...]) -> FoundSeries:
    content = _digest(map(sha256_of, files))
    identity = f"unreadable-{content[:16]}"
    summary = _empty(reason)
    return FoundSeries(summary, identity, identity, kind, content, ct=False, files=files)


def _missed(kind: str, count: int) -> FoundSeries:
    identity = f"{kind}-folders"
    reason = _MISSED[kind].format(f"{count} folder{'' if count == 1 else 's'}")
    return FoundSeries(_empty(reason), identity, identity, "dicom", _digest([identity, str(count)]), ct=False)


def _empty(refusal: str | None) -> SeriesSummary:
    return SeriesSummary("", "", 0, 0, 0, None, None, None, "", False, "", refusal, ())
