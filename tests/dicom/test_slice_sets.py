"""Whatever is done to a set of slices, each is where its position says, or the set is refused. The judge is numpy alone.

`make fuzz` tries 20,000 sets (`--hypothesis-profile fuzz`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.fuzz.dicom_files import series
from tests.fuzz.mutate import elements

from lamella.dicom import read_series
from lamella.errors import RefusedInput

# SPEC C6

MOST = 9
PIXELS = 4
"""Rows and columns."""

ORIGIN = np.array([-120.03125, -99.96, 50.017])
POSITION, COSINES, INSTANCE, NUMBER, DATA = 0x00200032, 0x00200037, 0x00080018, 0x00200013, 0x7FE00010
VRS = {POSITION: b"DS", COSINES: b"DS", INSTANCE: b"UI", NUMBER: b"IS"}


@dataclass(frozen=True)
class Made:
    """A slice as it is written, and what is true of it: `content` is the value of its pixels, `true_mm` its place."""

    content: int
    true_mm: np.ndarray
    position: str
    cosines: str
    instance: str


@cache
def template() -> tuple[dict[int, bytes], bytes]:
    """(tag -> element, what precedes them) of a sound slice."""
    data = series()[0]
    places = list(elements(data))
    found = {}
    for one in places:
        group, number = (int.from_bytes(data[k : k + 2], "little") for k in (one.start, one.start + 2))
        found[group << 16 | number] = data[one.start : one.end]
    return found, data[: places[0].start]


def encoded(made: Made) -> bytes:
    """The file of a slice: air, and its content in the second half."""
    parts, head = template()
    texts = {POSITION: made.position, COSINES: made.cosines, INSTANCE: made.instance, NUMBER: str(made.content)}
    changed = dict(parts)
    for tag, text in texts.items():
        value = text.encode() + b"\0" * (len(text) % 2 if tag == INSTANCE else 0)
        value += b" " * (len(value) % 2)
        changed[tag] = parts[tag][:4] + VRS[tag] + len(value).to_bytes(2, "little") + value
    stored = np.full((PIXELS, PIXELS), 24, "<u2")
    stored[PIXELS // 2 :] = 1024 + made.content
    assert len(parts[DATA]) == 12 + stored.nbytes
    changed[DATA] = parts[DATA][:12] + stored.tobytes()
    return head + b"".join(changed.values())


def written(numbers: np.ndarray, decimals: int) -> str:
    return "\\".join(f"{one:.{decimals}f}" for one in numbers)


@dataclass(frozen=True)
class Frame:
    """True directions of a stack, and the decimals that its headers have."""

    row: np.ndarray
    column: np.ndarray
    decimals: int
    places: int

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)


@st.composite
def frames(draw):
    """Axial, sagittal, turned by exact cosines, or any direction."""
    kind = draw(st.sampled_from(["axial", "sagittal", "exact", "any"]))
    decimals = draw(st.integers(1, 6))
    if kind == "axial":
        row, column = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    elif kind == "sagittal":
        row, column = np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
    elif kind == "exact":
        row, column = np.array([0.8, 0.6, 0]), np.array([-0.48, 0.64, 0.6])
    else:
        a, b = (np.radians(draw(st.floats(-40, 40))) for _ in "ab")
        row = np.array([np.cos(b), np.sin(b), 0])
        column = np.array([-np.sin(b) * np.cos(a), np.cos(b) * np.cos(a), np.sin(a)])
    return Frame(row, column, decimals, draw(st.integers(3, 6)) if kind == "any" else 2)


@dataclass(frozen=True)
class Case:
    files: list[Made]
    frame: Frame
    spacing_mm: float
    untouched: bool


@st.composite
def cases(draw):
    """A stack, and then what may happen to it."""
    frame, spacing = draw(frames()), draw(st.floats(0.5, 8.0))
    count = draw(st.integers(2, MOST))
    done = draw(st.sets(st.sampled_from(["delete", "copy", "twice", "jitter", "aside", "tilt", "turn"]), max_size=2))
    heights, aside = spacing * np.arange(count), np.zeros((count, 2))
    slices = st.sets(st.integers(0, count - 1), min_size=1, max_size=3)
    size = st.sampled_from([0.004, 0.03, 0.08, 0.3, 1.0, spacing / 2, spacing])
    if "jitter" in done:
        for k in draw(slices):
            heights[k] += draw(size) * draw(st.sampled_from([-1, 1]))
    if "aside" in done:
        for k in draw(slices):
            aside[k] += draw(size) * np.array(draw(st.sampled_from([(1, 0), (0, -1)])))
    if "tilt" in done:
        aside[:, 1] += heights * np.tan(np.radians(draw(st.sampled_from([0.02, 0.1, 0.5, 3.0, 20.0]))))
    true = ORIGIN + heights[:, None] * frame.normal + aside @ np.stack([frame.row, frame.column])
    cosines = [written(np.concatenate([frame.row, frame.column]), frame.places)] * count
    if "turn" in done:
        by = np.radians(draw(st.sampled_from([0.02, 0.3, 2.0, 30.0, 90.0])))
        turned = frame.row * np.cos(by) + frame.normal * np.sin(by)
        for k in draw(slices):
            cosines[k] = written(np.concatenate([turned, frame.column]), frame.places)
    made = [
        Made(10 * k, true[k], written(true[k], frame.decimals), cosines[k], f"1.2.826.0.1.3680043.8.498.1.{k}")
        for k in range(count)
    ]
    kept = set(range(count)) - (draw(slices) if "delete" in done else set())
    files = [one for k, one in enumerate(made) if k in kept]
    if files and "copy" in done:
        files.append(draw(st.sampled_from(files)))
    if files and "twice" in done:
        one = draw(st.sampled_from(files))
        files.append(Made(5, one.true_mm, one.position, one.cosines, f"{one.instance}.5"))
    return Case(draw(st.permutations(files)), frame, spacing, done <= {"copy"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sets") / "set"


@settings(max_examples=max(500, settings.default.max_examples), deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_any_set_of_slices_gives_exact_places_or_a_refusal(folder, case):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, one in enumerate(case.files):
        (folder / f"{number}.dcm").write_bytes(encoded(one))
    different = {one.content: one for one in case.files}
    rounding = 0.5 * 10.0**-case.frame.decimals
    try:
        volume = read_series(folder)
    except RefusedInput as refusal:
        fine = rounding < 0.01 * case.spacing_mm and len(different) > 1
        assert not (case.untouched and fine), refusal  # noqa: PT017 - reading may also succeed
        event("refused")
        return
    event("read")
    ordered = sorted(different.values(), key=lambda one: float(one.true_mm @ case.frame.normal))
    assert volume.hu[:, -1, -1].tolist() == [one.content for one in ordered], "slices lost, made up or out of order"
    true = np.array([one.true_mm for one in ordered])
    heights = (true - true[0]) @ case.frame.normal
    spacing = float(np.polyfit(np.arange(len(heights)), heights, 1)[0])
    # what the reader states: 2 % of the spacing or 0.1 mm along the normal, 0.05 mm aside, or what the decimals leave
    along = max(0.1, 0.02 * spacing, 2 * np.sqrt(3) * rounding) + np.sqrt(3) * rounding
    across = 2 * max(0.05, 2 * np.sqrt(3) * rounding)
    angle = np.sqrt(3) * 10.0**-case.frame.places if case.frame.places > 2 else 0.0
    if case.untouched:
        along = 4 * rounding + angle**2 * heights[-1] + 1e-6
        across = 4 * rounding + min(angle * heights[-1], across) + 1e-6
    found = np.array([volume.geometry.position(k) for k in range(len(true))])
    off = found - true
    off_along = off @ case.frame.normal
    assert np.abs(off_along).max() <= along
    assert np.linalg.norm(off - off_along[:, None] * case.frame.normal, axis=1).max() <= across
    assert abs(volume.geometry.spacing_mm - spacing) <= 2 * along / (len(true) - 1)
    lean = max(angle, across / heights[-1])
    assert np.abs(volume.geometry.axes[:, 0] - case.frame.normal).max() <= lean + 1e-9
