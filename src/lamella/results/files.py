"""results.json on disk: written whole or not at all, read with a check of every key and value."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from lamella.errors import LamellaError, UsageError
from lamella.files.atomic import staged_file
from lamella.files.config import fill
from lamella.results.evidence import BlindedTest
from lamella.results.schema import Results

RESULTS = "results.json"
BLINDED = "blinded.json"


def write_json(path: Path, content: Any) -> None:
    """Write JSON types or a dataclass, whole or not at all; a number that is not finite is a mistake of ours, not a null."""
    plain = dataclasses.asdict(content) if dataclasses.is_dataclass(content) else content  # type: ignore[arg-type]  # an instance
    with staged_file(path, overwrite=True) as file:
        file.write_text(json.dumps(plain, allow_nan=False, separators=(",", ":")) + "\n", encoding="utf-8")


def read_results(path: Path) -> tuple[Path, Results]:
    """Read the folder or file that an evaluation wrote.

    Returns:
        (folder of the volumes, results).

    Raises:
        UsageError: there is no results.json.
        LamellaError: it is damaged, or does not hold what this version writes.
    """
    file = path / RESULTS if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"There is no {RESULTS} at {path}. Expected a folder that `lamella evaluate` wrote.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LamellaError(f"{file} is not JSON ({type(error).__name__}). Run `lamella evaluate` again.") from error
    try:
        return file.parent, fill(Results, content)
    except UsageError as error:
        why = str(error).replace("The config", "It")
        raise LamellaError(f"{file.name} is not of this version. {why} Run `lamella evaluate` again.") from error


def read_blinded(folder: Path) -> BlindedTest | None:
    """What `benchmarks/blinded.py` wrote into the folder of an evaluation; None where it was not run.

    Raises:
        LamellaError: it is damaged, or does not hold what this version writes.
    """
    file = folder / BLINDED
    if not file.is_file():
        return None
    try:
        return fill(BlindedTest, json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:  # UsageError of `fill` is a ValueError
        raise LamellaError(
            f"{file.name} is damaged or not of this version. Run benchmarks/blinded.py again."
        ) from error
