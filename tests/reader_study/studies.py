"""Small studies and simulated answers, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tests.small_model import upright

from lamella.nifti.image import write_nifti
from lamella.reader_study.answers import ANSWERS_KIND
from lamella.reader_study.key import Key, Shown
from lamella.reader_study.plan import Design, Item, plan_session
from lamella.volume import Geometry, Volume

METHODS = ("cubic", "mean", "real-thin")


def small_key(design: Design, readers: int) -> Key:
    """A key without volumes behind it."""
    shown = tuple(Shown(case, one, f"{one}.nii.gz", "0" * 64) for case in design.cases for one in design.methods)
    return Key(design, shown, tuple(plan_session(design, number) for number in range(1, readers + 1)))


def answers_of(key: Key, reader: str, answer: Callable[[Item], object], seconds: float = 2.0) -> dict[str, Any]:
    """What the page of a reader would save, each item answered by a function; None leaves it out."""
    session = key.session(reader)
    assert session is not None
    given = [(item.id, answer(item)) for item in session.items]
    items = [{"id": name, "answer": one, "milliseconds": 1000 * seconds} for name, one in given if one is not None]
    return {"kind": ANSWERS_KIND, "study": key.study, "reader": reader, "items": items}


def saved(folder: Path, answers: Mapping[str, Any]) -> Path:
    """The same as a file."""
    path = folder / f"answers-{answers['reader']}.json"
    path.write_text(json.dumps(answers), encoding="utf-8")
    return path


def choose(item: Item, better: str, questions: int = 4) -> object:
    """An answer of somebody who always prefers one method and gives it 5, the others 2."""
    if item.kind == "likert":
        return [5 if item.methods[0] == better else 2] * questions
    return ("left", "right")[item.methods.index(better)] if better in item.methods else "same"


def write_case(folder: Path, methods: tuple[str, ...] = METHODS, grid: Geometry | None = None, seed: int = 0) -> None:
    """A case with one NIfTI a method, smooth structure under different noise."""
    grid = grid or upright((6, 24, 30), 1.0, 1.0)
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    folder.mkdir(parents=True)
    for place, method in enumerate(methods):
        hu = 300 * np.sin(z / 3 + y / 5) * np.cos(x / 6) + rng.normal(0, 5 + 20 * place, grid.shape)
        write_nifti(folder / f"{method}.nii.gz", [Volume(hu.round().astype(np.int16), grid)], None)


def write_studies(folder: Path, cases: int = 3, methods: tuple[str, ...] = METHODS) -> Path:
    """Several of them."""
    for number in range(1, cases + 1):
        write_case(folder / f"case-{number:02d}", methods, seed=number)
    return folder
