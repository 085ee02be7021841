"""What there is to prepare: one job a source, with a key that changes whenever its case would."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lamella.data.prepare_settings import PrepareSettings, SeriesEntry
from lamella.errors import UsageError


@dataclass(frozen=True)
class Job:
    """One source to prepare.

    Attributes:
        key: of its files' paths, sizes and times of change, and of all that the configuration says about it.
        path: below the data folder.
        category: of the case.
        entry: where the source is named by itself.
    """

    key: str
    path: str
    category: str
    entry: SeriesEntry | None = None


def find_jobs(settings: PrepareSettings) -> list[Job]:
    """Every source of a preparation, sorted.

    Raises:
        UsageError: the folder is not there, or holds nothing that was asked for.
    """
    data, pairs = Path(settings.data), json.dumps(asdict(settings.pairs)) + (" strict" if settings.strict else "")
    if not data.is_dir():
        raise UsageError(f"The data folder {data} does not exist. Set data=PATH.")
    jobs = []
    for category in settings.categories:
        for path in sorted(data.glob(category.zips)):
            key = hashed(*_state(data, path), category.name, pairs)
            jobs.append(Job(key, path.relative_to(data).as_posix(), category.name))
    for entry in settings.series:
        files: list[str] = []
        for name in filter(None, (entry.path, entry.thick)):
            if not (data / name).exists():
                raise UsageError(f"There is no {name} in {data}. Look at `series` in the config.")
            files += _state(data, data / name)
        jobs.append(Job(hashed(*files, json.dumps(asdict(entry)), pairs), entry.path, entry.category, entry))
    if not jobs:
        raise UsageError(f"Nothing to prepare in {data}. Look at `categories` and `series` in the config.")
    return jobs


def hashed(*parts: str) -> str:
    """Sixteen hexadecimal digits that stand for texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _state(data: Path, source: Path) -> Iterator[str]:
    """Relative path, size and time of change of every file of a source."""
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        if file.is_file():
            stat = file.stat()
            yield f"{os.path.relpath(file, data)} {stat.st_size} {stat.st_mtime_ns}"
