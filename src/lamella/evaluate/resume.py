"""What an evaluation need not measure again: records of whole cases, and methods of a case that was interrupted."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import lamella
from lamella.errors import UsageError
from lamella.evaluate.cases import Planned, paths_of, safe_id
from lamella.evaluate.settings import EvaluationSettings
from lamella.evaluate.sheet import Sheet
from lamella.files.config import fill
from lamella.metrics.catalogue import FIGURES
from lamella.results.files import write_json
from lamella.results.schema import CaseRecord
from lamella.thinning.model import ThinModel
from lamella.thinning.settings import ThinSettings

T = TypeVar("T")

_NO_FIGURES = ("api.py", "cli", "report", "reader_study", "train", "workflow")
"""Rooms that no figure depends on."""


@dataclass(frozen=True)
class Scored:
    """One method of a case.

    Attributes:
        sheet: its figures.
        warnings: what the method says of the case.
        volume, spread: files of its answer, where they are kept; relative to the results.
    """

    sheet: Sheet
    warnings: tuple[str, ...] = ()
    volume: str | None = None
    spread: str | None = None


@dataclass(frozen=True)
class Recovered:
    """What one method leaves of inserted nodules.

    Attributes:
        spheres: diameter -> (contrast, volume) over the truth's.
        nodules: figures of spheres and spiculated shapes.
    """

    spheres: dict[str, tuple[float, float]]
    nodules: dict[str, float | None]


@dataclass(frozen=True)
class CaseStore:
    """What is kept of one case between runs.

    Attributes:
        out: folder of the results.
        case: id of the case.
        key: hash of all that its figures depend on; what was kept under another one counts for nothing.
    """

    out: Path
    case: str
    key: str

    @property
    def _record(self) -> Path:
        return self.out / "cases" / f"{self.case}.json"

    @property
    def _parts(self) -> Path:
        return self.out / "cases" / f"{self.case}.parts"

    def record(self) -> CaseRecord | None:
        """The record of an earlier run, if it answers the same question and its volumes are there."""
        kept = _read(self._record)
        record = _filled(CaseRecord, kept.get("record")) if kept.get("key") == self.key else None
        return record if record and all((self.out / name).is_file() for name in record.volumes.names) else None

    def begin(self) -> None:
        """Forget what answers another question: its volumes are about to be replaced."""
        self._record.unlink(missing_ok=True)
        if _read(self._parts / "key.json").get("key") != self.key:
            shutil.rmtree(self._parts, ignore_errors=True)
            write_json(self._parts / "key.json", {"key": self.key})

    def part(self, kind: type[T], method: str) -> T | None:
        """What an interrupted run kept of a method."""
        return _filled(kind, _read(self._place(kind, method)))

    def keep_part(self, method: str, part: Any) -> None:
        """Keep what was measured of a method until the case is done."""
        write_json(self._place(type(part), method), part)

    def _place(self, kind: type, method: str) -> Path:
        return self._parts / f"{safe_id(method)}-{kind.__name__.lower()}.json"

    def keep(self, record: CaseRecord) -> None:
        """Keep the record of the whole case."""
        write_json(self._record, {"key": self.key, "record": dataclasses.asdict(record)})
        shutil.rmtree(self._parts, ignore_errors=True)


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or a damaged one."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _filled(kind: type[T], kept: Any) -> T | None:
    try:
        return fill(kind, kept)
    except UsageError:
        return None


def key_of(one: Planned, settings: EvaluationSettings, models: Mapping[str, ThinModel]) -> str:
    """A hash of what a kept record must have been made with: the question, the files, the models, the code."""
    asked = dataclasses.asdict(settings)
    for name in ("out", "series", "pairs", "phantoms", "splits", "workers"):
        asked.pop(name)
    asked["outside"] = [o for o in asked["outside"] if o["case"] == one.id]
    source = {key: value for key, value in dataclasses.asdict(one.source).items() if key != "geometries"}
    geometry = None if one.geometry is None else dataclasses.asdict(one.geometry)
    files = [_stamp(Path(path)) for path in (*paths_of(one), *_of_tools(asked["outside"]))]
    answering = [
        [m.sha256, m.provenance(m.defaults(ThinSettings())).card, dataclasses.asdict(m.limits)] for m in models.values()
    ]
    code = [lamella.__version__, code_hash()]
    return _hash([code, one.title, source, geometry, asked, files, answering, list(FIGURES)])


def _of_tools(outside: list[dict[str, Any]]) -> list[str]:
    """The files of other tools' results and of their records."""
    return [file for one in outside for file in (one["path"], one["record"]) if file]


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> list[list[int]]:
    """Size and time of change of a file, or of every file of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [[found.st_size, found.st_mtime_ns] for found in (file.stat() for file in files if file.is_file())]


@cache
def code_hash() -> str:
    """A hash of the code that figures depend on: what was measured before it changed is measured again."""
    root = Path(lamella.__file__).parent
    files = [file for file in sorted(root.rglob("*.py")) if file.relative_to(root).parts[0] not in _NO_FIGURES]
    return _hash([[file.relative_to(root).as_posix(), without_words(file.read_text("utf-8"))] for file in files])


def without_words(source: str) -> str:
    """Python code without comments and docstrings, which no figure depends on."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            code = [one for one in node.body if not _is_text(one)]
            node.body = code or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
