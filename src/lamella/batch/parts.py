"""Shares of a batch: every series belongs to exactly one part, whatever else is there, on whatever machine."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lamella.errors import UsageError


@dataclass(frozen=True)
class Part:
    """Part `number` (from 1) of `count`.

    Raises:
        UsageError: no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(f"There is no part {self.number} of {self.count}. Expected --part I/N with I from 1 to N.")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, series: str) -> bool:
        """Whether a series belongs to this part, by the SHA-256 of its UID."""
        return int(hashlib.sha256(series.encode()).hexdigest(), 16) % self.count == self.number - 1


def part_of(text: str | None, environment: Mapping[str, str] = os.environ) -> Part | None:
    """The part that `--part` names, or that the scheduler names which started this process; None for the whole.

    Slurm arrays state SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT. Indexed jobs of Kubernetes state JOB_COMPLETION_INDEX
    alone, so their manifest must state JOB_COMPLETIONS.

    Raises:
        UsageError: it is malformed, or the scheduler does not say how many parts there are.
    """
    if text is not None:
        if not (found := re.fullmatch(r"(\d+)/(\d+)", text)):
            raise UsageError(f"--part must read I/N, such as 2/8. Found {text!r}.")
        return Part(int(found[1]), int(found[2]))
    if "SLURM_ARRAY_TASK_ID" in environment:
        first, step = _number(environment, "SLURM_ARRAY_TASK_MIN"), _number(environment, "SLURM_ARRAY_TASK_STEP", "1")
        place = (_number(environment, "SLURM_ARRAY_TASK_ID") - first) // max(1, step)
        return Part(place + 1, _number(environment, "SLURM_ARRAY_TASK_COUNT"))
    if "JOB_COMPLETION_INDEX" in environment:
        return Part(_number(environment, "JOB_COMPLETION_INDEX") + 1, _number(environment, "JOB_COMPLETIONS"))
    return None


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name, default)
    if not text.isdigit():
        raise UsageError(
            f"The scheduler gave this process a part of the work, and {name} does not say which. Found {text!r}, expected a "
            "number. Set it, or give --part I/N (1/1 for the whole)."
        )
    return int(text)
