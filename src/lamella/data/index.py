"""A prepared data set as one folder: which cases there are, and which split each patient is in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from lamella.data.cache import CachedCase, open_case
from lamella.errors import LamellaError, UsageError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
CASES, INDEX, SPLIT = "cases", "index.json", "split.json"


@dataclass(frozen=True)
class SplitSettings:
    """How patients are shared out.

    Attributes:
        seed: of the draw.
        train, validation: shares; the rest is `test`.

    Raises:
        UsageError: shares that do not fit into 1.
    """

    seed: int = 42
    train: float = 0.75
    validation: float = 0.15

    def __post_init__(self) -> None:
        if min(self.train, self.validation) < 0 or self.train + self.validation > 1 + 1e-9:
            raise UsageError(
                f"The shares of a split must lie in 0 to 1. Found train {self.train:g}, validation {self.validation:g}."
            )


@dataclass(frozen=True)
class Entry:
    """A case as the index lists it.

    Attributes:
        case_id, category, patient_id: see `CachedCase`.
        split: chosen in the configuration; empty where it is drawn.
        part_of: pseudonym of the series that the case is a part of; empty for a whole scan.
    """

    case_id: str
    category: str
    patient_id: str
    split: str = ""
    part_of: str = ""


@dataclass(frozen=True)
class Index:
    """A prepared data set.

    Attributes:
        folder: where it lies.
        entries: its cases, sorted by id.
        splits: patient -> split.
    """

    folder: Path
    entries: tuple[Entry, ...]
    splits: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Read what `write_index` wrote; nothing is written, so the folder may be read-only.

        Raises:
            UsageError: the folder holds no prepared data set.
        """
        folder = Path(folder)
        try:
            listed = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            splits = json.loads((folder / SPLIT).read_text(encoding="utf-8"))["patients"]
            entries = tuple(Entry(**one) for one in listed["cases"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{folder} holds no prepared data set ({type(error).__name__}). Run `lamella prepare CONFIG` first, "
                "until it says that no source failed."
            ) from error
        return cls(folder, entries, splits)

    def cases(self, split: str) -> tuple[str, ...]:
        """Ids of a split's cases, sorted.

        Raises:
            UsageError: no such split.
        """
        if split not in SPLITS:
            raise UsageError(f"There is no split {split!r}. Expected one of {', '.join(SPLITS)}.")
        return tuple(one.case_id for one in self.entries if (one.split or self.splits.get(one.patient_id)) == split)

    def open(self, case_id: str) -> CachedCase:
        """A case.

        Raises:
            LamellaError: it is not listed, or cannot be read.
        """
        if all(one.case_id != case_id for one in self.entries):
            raise LamellaError(f"There is no case {case_id} in {self.folder}.")
        return open_case(self.folder / CASES / case_id)


def draw_split(patients: Sequence[str], settings: SplitSettings) -> dict[str, str]:
    """Share out patients; the same patients and seed give the same split in any order (SPEC A2).

    356 patients give 267 / 53 / 36: shares are rounded down, and `test` is what is left.
    """
    names = sorted(set(patients))
    order = np.random.default_rng(settings.seed).permutation(len(names))
    # Down, so that a small data set keeps patients for the test: 10 give 7 / 1 / 2.
    train = int(len(names) * settings.train + 1e-9)
    validation = int(len(names) * settings.validation + 1e-9)
    bounds = ((0, train, "train"), (train, train + validation, "validation"), (train + validation, len(names), "test"))
    return {names[i]: split for first, end, split in bounds for i in order[first:end]}


def refuse_other_shares(folder: Path, settings: SplitSettings) -> None:
    """Refuse settings of the draw that are not those a data set was shared out by.

    Raises:
        UsageError: its split is frozen, and was drawn otherwise.
    """
    path = folder / SPLIT
    if not path.exists():
        return
    drawn = json.loads(path.read_text(encoding="utf-8")).get("settings", asdict(settings))
    if drawn != asdict(settings):
        raise UsageError(
            f"The patients of {folder} were shared out once and stay so. Found `split` {asdict(settings)}, expected "
            f"{drawn}. Set it back; or remove {SPLIT} there to draw anew, and train anew what has learnt from it."
        )


def frozen_split(folder: Path, entries: Sequence[Entry], settings: SplitSettings) -> tuple[dict[str, str], int]:
    """The split of a data set: what was frozen stays; a choice in the configuration wins over a draw.

    Args:
        folder: of the data set.
        entries: all cases there are now.
        settings: of the draw, which is made once, when there is no file yet.

    Returns:
        (patient -> split, how many patients are in no split because they came after the split was frozen). Patients
        whose one scan is in several splits part by part are not in the first: their cases say it themselves.

    Raises:
        UsageError: one patient is asked into two splits, or a split is unknown.
    """
    chosen: dict[str, str] = {}
    shared = set()
    for patient in sorted({one.patient_id for one in entries}):
        own = [one for one in entries if one.patient_id == patient]
        for one in own:
            if one.split not in ("", *SPLITS):
                raise UsageError(f"There is no split {one.split!r}. Expected one of {', '.join(SPLITS)}.")
        asked = [name for name in SPLITS if any(one.split == name for one in own)]
        if len(asked) == 1:
            chosen[patient] = asked[0]
        elif asked:
            # parts of one scan may be in different splits on purpose; everything else of a patient stays together
            if len({one.part_of or one.case_id for one in own}) > 1:
                raise UsageError(f"Patient {patient} is asked into {' and '.join(asked)}. Choose one.")
            shared.add(patient)
    patients = {one.patient_id for one in entries} - shared
    path = folder / SPLIT
    if path.exists():
        frozen = dict(json.loads(path.read_text(encoding="utf-8"))["patients"])
    else:
        frozen = draw_split(sorted(patients - set(chosen)), settings)
    frozen |= chosen
    return frozen, len(patients - set(frozen))
