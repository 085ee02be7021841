"""A run's folder belongs to one set of settings: another set would be trained on, and labelled as, what it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lamella.errors import UsageError

SETTINGS = "settings.yaml"
_CHECKPOINTS = ("last.ckpt", "mean/last.ckpt", "flow/last.ckpt")

_FREE = (
    *("run", "name", "licence", "card", "calibration", "limits"),  # what the result is called and said to be
    *("fit", "mean", "flow"),  # how long and how fast: a run can be prolonged, hastened, or moved to other processors
    *("precision", "threads", "device", "workers", "devices", "nodes", "strategy", "accumulate"),
    *("validate_every", "checkpoint_every", "validation_batches", "scale_batches"),
)
"""Settings at the top of a run that may change when it goes on; `fit.seed` apart."""


def is_begun(folder: Path) -> bool:
    """Whether a run's folder holds a checkpoint to go on from; without one it may begin with any settings."""
    return any((folder / name).is_file() for name in _CHECKPOINTS)


def refuse_other_run(folder: Path, settings: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under settings that it was not begun with.

    Args:
        folder: of the run.
        settings: of the run asked for, as mappings, lists and plain values.
        begun: those it was begun with.

    Raises:
        UsageError: naming the settings that differ, found and expected.
    """
    before, now = dict(_flat(begun, "")), dict(_flat(settings, ""))
    other = [key for key in before | now if _binds(key) and before.get(key) != now.get(key)]
    if other:
        found = "; ".join(f"{key} {now.get(key)!r}, expected {before.get(key)!r}" for key in other[:4])
        more = f" (and {len(other) - 4} more)" if len(other) > 4 else ""
        raise UsageError(
            f"The run in {folder} was begun with other settings. Found {found}{more}. Give run=FOLDER for a run of its own; "
            f"where only a path was moved, write the new one into {folder / SETTINGS}."
        )


def _binds(key: str) -> bool:
    return key == "fit.seed" or key.partition(".")[0] not in _FREE


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """("a.b.0", value) of nested mappings and lists."""
    if not isinstance(value, dict | list):
        yield key, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in items:
        yield from _flat(item, f"{key}.{name}" if key else str(name))
