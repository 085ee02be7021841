"""`repair` of read_series: what is repaired, what is refused, and what the header of a repaired series says."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.broken_scans import ORIGIN_MM, axes_of
from tests.dicom_builder import body_hu, build_series

from lamella.dicom.labels import source_images
from lamella.dicom.read import list_series, read_series
from lamella.errors import RefusedInput, UsageError
from lamella.physics.repair import RepairKind
from lamella.sources.source import read_source

# Issue 26, item 7

KINDS: tuple[RepairKind, ...] = ("tilt", "gap", "uneven")
UPRIGHT = np.array([0.0, 0.0, 1.0])


def series(folder: Path, heights_mm: Any, tilt_deg: float = 0.0, **differing: Any) -> Path:
    """Slices at heights along the table, whose planes are tilted."""
    axes, heights = axes_of(tilt_deg), np.asarray(heights_mm, dtype=float)
    positions: NDArray[np.float64] = np.array(ORIGIN_MM) + heights[:, None] * UPRIGHT
    plain: dict[str, Any] = {"orientation": (*axes[:, 2], *axes[:, 1]), "positions_mm": positions.tolist()}
    build_series(folder, body_hu(len(heights)), **{**plain, **differing})
    return folder


EVERY = 5.0 * np.arange(12)
BROKEN = {"tilt": (EVERY, 12.0), "gap": (np.delete(EVERY, 4), 0.0), "uneven": (EVERY + 0.7 * (np.arange(12) == 5), 0.0)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_refused_with_the_option_that_repairs_it_and_repaired_when_asked(
    kind: RepairKind, tmp_path: Path
) -> None:
    heights, tilt = BROKEN[kind]
    series(tmp_path, heights, tilt)
    with pytest.raises(RefusedInput, match=rf"`lamella thin SOURCE OUTPUT --repair {kind}` repairs this"):
        read_series(tmp_path)
    volume = read_series(tmp_path, repair=kind)
    header: Any = volume.header
    assert header.repair.kind == kind
    assert sum(note.startswith(f"repaired ({kind})") for note in header.notes) == 1
    assert volume.hu.dtype == np.int16
    assert len(header.slices) == volume.geometry.shape[0] == 12
    step = 5.0 * np.cos(np.radians(tilt))
    assert volume.geometry.spacing_mm == pytest.approx(step)
    np.testing.assert_allclose(np.diff(volume.geometry.centres_mm), step)
    for other in KINDS:
        if other != kind:
            with pytest.raises(RefusedInput, match=rf"--repair {kind}` repairs this"):
                read_series(tmp_path, repair=other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_series_is_not_repaired(kind: RepairKind, tmp_path: Path) -> None:
    series(tmp_path, EVERY)
    with pytest.raises(RefusedInput, match=rf"nothing to repair. --repair {kind} .* 12 slices every 5 mm .* Leave"):
        read_series(tmp_path, repair=kind)


@pytest.mark.parametrize(
    ("kind", "heights", "tilt", "why"),
    [
        ("tilt", EVERY, 40.0, "sheared .*--repair tilt cannot repair this: it is more than 35 degrees"),
        ("tilt", EVERY, -36.0, "sheared .*--repair tilt cannot"),
        ("gap", np.delete(EVERY, [4, 8]), 0.0, "2 slices are missing .*--repair gap cannot .*one at most is bridged"),
        ("gap", np.delete(EVERY, [4, 5]), 0.0, "2 slices are missing .*--repair gap cannot"),
        ("gap", np.delete(EVERY[:5], 2), 0.0, "1 slice is missing .*at least three measured slices are needed"),
        (
            "uneven",
            [0, 5, 10, 15, 20, 28.4, 33.4, 38.4],
            0.0,
            "step of 8.40 mm is wider than 1.5 times the mean, 5.49 mm",
        ),
    ],
)
def test_what_goes_too_far_is_refused(kind: RepairKind, heights: Any, tilt: float, why: str, tmp_path: Path) -> None:
    series(tmp_path, heights, tilt)
    with pytest.raises(RefusedInput, match=why):
        read_series(tmp_path, repair=kind)
    with pytest.raises(RefusedInput) as plain:
        read_series(tmp_path)
    assert "--repair" not in str(plain.value)


@pytest.mark.parametrize("kind", ["gap", "uneven"])
def test_mixed_acquisitions_are_not_repaired(kind: RepairKind, tmp_path: Path) -> None:
    heights, _ = BROKEN[kind]
    series(tmp_path, heights, per_slice={k: {"AcquisitionNumber": 1 + (k > 4)} for k in range(len(heights))})
    with pytest.raises(
        RefusedInput, match=r"acquisitions are mixed, AcquisitionNumber.*--repair \w+ cannot repair this"
    ):
        read_series(tmp_path, repair=kind)


def test_a_gap_in_a_tilted_series_is_two_faults(tmp_path: Path) -> None:
    series(tmp_path, np.delete(EVERY, 4), 12.0)
    told = {"gap": "--repair tilt` repairs", "tilt": "--repair gap cannot repair this: the slices are sheared, too"}
    for kind, why in told.items():
        with pytest.raises(RefusedInput, match=why):
            read_series(tmp_path, repair=cast(RepairKind, kind))


def test_measured_slices_beside_a_gap_are_kept_as_they_are(tmp_path: Path) -> None:
    series(tmp_path, np.delete(EVERY, 4))
    hu = body_hu(11)
    volume = read_series(tmp_path, repair="gap")
    np.testing.assert_array_equal(np.delete(volume.hu, 4, axis=0), hu)
    expected = (4.0 * hu[3] + 4.0 * hu[4] - hu[2] - hu[5]) / 6
    np.testing.assert_allclose(volume.hu[4], np.maximum(expected, -1024), atol=0.51)


def test_the_images_that_a_made_slice_refers_to_are_those_it_is_made_of(tmp_path: Path) -> None:
    """PS3.3 C.7.6.1.1.4: SourceImageSequence holds images that exist."""
    series(tmp_path, np.delete(EVERY, 4))
    volume = read_series(tmp_path, repair="gap")
    thin = volume.geometry.with_slices(60, 1.0, -2.0, 1.0)
    header: Any = volume.header
    numbers = [
        [int(str(item.ReferencedSOPInstanceUID).split(".")[-1]) for item in items]
        for items in source_images(header, volume.geometry, thin)
    ]
    assert numbers[17] == [4]  # files count from 1; number 4 lies at 15 mm
    assert numbers[22] == [4, 5, 3, 6]  # in the middle of the missing slice, at 20 mm
    assert numbers[27] == [5]


def test_an_unknown_repair_is_wrong_usage(tmp_path: Path) -> None:
    series(tmp_path, EVERY)
    with pytest.raises(UsageError, match=r"Unknown repair 'shear'. Expected one of tilt, gap, uneven"):
        read_source(tmp_path, repair="shear")  # type: ignore[arg-type]  # that is the point


EVEN = st.integers(3, 9).map(lambda count: [1.0] * count)
ONE_WIDE = st.integers(0, 8).map(lambda at: [2.0 if k == at else 1.0 for k in range(9)])
JITTER = st.lists(st.sampled_from([0.9, 1.0, 1.1, 1.3]), min_size=3, max_size=9)
STRAIGHT, LEANING = st.just(0.0), st.sampled_from([-33.0, -12.0, 0.5, 20.0, 38.0])
FAULTS = st.one_of(
    st.tuples(EVEN, LEANING, st.just("tilt")),
    st.tuples(ONE_WIDE, STRAIGHT, st.just("gap")),
    st.tuples(JITTER, STRAIGHT, st.just("uneven")),
    st.tuples(EVEN | ONE_WIDE | JITTER, STRAIGHT | LEANING, st.sampled_from(KINDS)),
)


@settings(max_examples=40, deadline=None)
@given(fault=FAULTS, decimals=st.sampled_from([2, 3, 6]), order=st.randoms(use_true_random=False))
def test_whatever_the_fault_a_repaired_stack_spans_the_measured_positions_or_is_refused(
    fault: tuple[list[float], float, RepairKind], decimals: int, order: Random
) -> None:
    steps, tilt_deg, kind = fault
    heights = np.concatenate([[0.0], np.cumsum(steps)]) * 2.5
    shuffled = np.round(np.array(ORIGIN_MM) + heights[:, None] * UPRIGHT, decimals)
    indices = list(range(len(heights)))
    order.shuffle(indices)
    with TemporaryDirectory() as folder:
        series(Path(folder), heights, tilt_deg, positions_mm=shuffled[indices].tolist())
        try:
            volume = read_series(Path(folder), repair=kind)
        except RefusedInput:
            event(f"{kind} refused")
            return
    event(f"{kind} repaired")
    grid, cosine = volume.geometry, np.cos(np.radians(tilt_deg))
    assert grid.shape[0] == len(heights) + (kind == "gap")
    assert (kind == "tilt") == (tilt_deg != 0)
    span = grid.spacing_mm * (grid.shape[0] - 1)
    assert span == pytest.approx(heights[-1] * cosine, abs=0.05)
    np.testing.assert_allclose(grid.axes[:, 0], axes_of(tilt_deg)[:, 0], atol=1e-6)
    first = axes_of(tilt_deg)[:, 0] @ (grid.position(0) - np.array(ORIGIN_MM))
    assert first == pytest.approx(0.0, abs=0.02)


def test_summaries_refuse_what_is_not_asked_for(tmp_path: Path) -> None:
    series(tmp_path, *BROKEN["tilt"])
    (found,) = list_series(tmp_path)
    assert found.refusal is not None
    assert "--repair tilt" in found.refusal
