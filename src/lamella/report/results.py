"""results.json of an evaluation, read and checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.errors import LamellaError, UsageError

FILE = "results.json"

_KEYS = ("lamella", "created", "settings", "model", "methods", "figures", "cases", "pooled", "gains", "failures")
_CASE_KEYS = (
    *("id", "title", "kind", "group", "person", "thick", "thin", "scored_slices", "notes", "floor", "figures"),
    *("intervals", "slices", "spectra", "shifts", "spheres", "coverage", "volumes"),
)


@dataclass(frozen=True, eq=False)
class Results:
    """An evaluation.

    Attributes:
        folder: where its volumes lie.
        content: results.json as JSON types.
    """

    folder: Path
    content: dict[str, Any]

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Every case."""
        return list(self.content["cases"])

    def label(self, method: str) -> str:
        """A method's name for people."""
        return next((str(one["label"]) for one in self.content["methods"] if one["name"] == method), method)

    def kind(self, method: str) -> str:
        """baseline, projected, model or outside."""
        return next((str(one["kind"]) for one in self.content["methods"] if one["name"] == method), "")

    def gains(self, case: str, method: str, figure: str = "psnr_4095_db") -> list[dict[str, Any]]:
        """The gains of a method in a case ("pooled": over all cases), one a method it is compared with."""
        asked = (case, method, figure)
        return [one for one in self.content["gains"] if (one["case"], one["method"], one["figure"]) == asked]

    def gain(self, case: str, method: str, against: str) -> dict[str, Any] | None:
        """The gain of a method over another in a case."""
        return next((one for one in self.gains(case, method) if one["against"] == against), None)

    def least_gain(self, case: str, method: str) -> dict[str, Any] | None:
        """The gain over the strongest interpolation: the least of all."""
        return min(self.gains(case, method), key=lambda one: float(one["difference"]), default=None)


def read_results(path: Path) -> Results:
    """Read the folder or file that an evaluation wrote.

    Raises:
        UsageError: there is no results.json.
        LamellaError: it is damaged, or lacks what Lamella writes.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"There is no {FILE} at {path}. Expected a folder that `lamella evaluate` wrote.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LamellaError(f"{file} is not JSON ({type(error).__name__}). Run `lamella evaluate` again.") from error
    _require(content, _KEYS, file.name)
    for number, case in enumerate(content["cases"]):
        _require(case, _CASE_KEYS, f"{file.name}, case {number}")
    return Results(file.parent, content)


def _require(content: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(content, dict):
        raise LamellaError(f"{where} holds no mapping. Found {type(content).__name__}. Run `lamella evaluate` again.")
    lacking = [key for key in keys if key not in content]
    if lacking:
        raise LamellaError(f"{where} lacks {', '.join(lacking)}. Run `lamella evaluate` again with this version.")
