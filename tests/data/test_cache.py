from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.small_model import upright

from lamella.data.cache import BLOCK, CASE, THICK, THIN, open_case, verify_case, write_case
from lamella.errors import LamellaError, UsageError
from lamella.volume import Volume


def volume(shape: tuple[int, int, int], seed: int = 0) -> Volume:
    """Any int16, the extremes included."""
    rng = np.random.default_rng(seed)
    hu = rng.integers(-32768, 32768, shape).astype(np.int16)
    hu.flat[:2] = (-32768, 32767)
    return Volume(hu, upright(shape, 1.0, 1.25))


def written(folder: Path, thin: Volume, thick: Volume | None = None) -> Path:
    write_case(folder, "c-1", "APE", "p-1", thin, thick, kernel="B31f")
    return folder


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_block_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:  # SPEC B15
    shape = (11, BLOCK + 7, 2 * BLOCK + 9)
    held = volume(shape)
    folder = tmp_path_factory.getbasetemp() / "held-case"
    if not folder.exists():
        written(folder, held)
    block = []
    for size in shape:
        first = data.draw(st.integers(0, size - 1))
        block.append(slice(first, data.draw(st.integers(first + 1, size))))
    z, y, x = block
    found = open_case(folder).thin[z, y, x]
    assert found.dtype == np.int16
    assert np.array_equal(found, held.hu[z, y, x])


def test_a_case_remembers_everything(tmp_path: Path) -> None:  # SPEC A3
    thin, thick = volume((10, 20, 30)), Volume(volume((2, 20, 30), 1).hu, upright((2, 20, 30), 5.0, 5.5))
    case = verify_case(written(tmp_path / "case", thin, thick))
    assert (case.case_id, case.category, case.patient_id, case.about) == ("c-1", "APE", "p-1", {"kernel": "B31f"})
    assert case.thin.geometry == thin.geometry
    assert case.thick is not None
    assert case.thick.geometry == thick.geometry
    assert np.array_equal(case.thick[slice(0, 2), slice(0, 20), slice(0, 30)], thick.hu)


def test_fractions_are_rounded_and_excess_refused(tmp_path: Path) -> None:
    grid = upright((2, 3, 4), 1.0, 1.0)
    hu: NDArray[np.float32] = np.full((2, 3, 4), 12.6, np.float32)
    case = open_case(written(tmp_path / "case", Volume(hu, grid)))
    assert int(case.thin[slice(0, 1), slice(0, 1), slice(0, 1)][0, 0, 0]) == 13
    hu[0, 0, 0] = 40000
    with pytest.raises(LamellaError, match="beyond 16 bits"):
        written(tmp_path / "other", Volume(hu, grid))
    assert not (tmp_path / "other").exists()


def test_damage_is_seen(tmp_path: Path) -> None:  # SPEC A3
    folder = written(tmp_path / "case", volume((10, 20, 30)))
    file = folder / THIN
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(LamellaError, match="damaged"):
        verify_case(folder)
    with pytest.raises(LamellaError, match="damaged"):
        open_case(folder).thin[slice(0, 1), slice(0, 1), slice(0, 1)]
    file.unlink()
    with pytest.raises(LamellaError, match="damaged"):
        open_case(folder).thin[slice(0, 1), slice(0, 1), slice(0, 1)]
    card = json.loads((folder / CASE).read_text())
    card["series"][THIN]["affine"][0][3] += 1.0
    (folder / CASE).write_text(json.dumps(card))
    with pytest.raises(LamellaError, match=r"damaged: case\.json"):
        open_case(folder)
    (folder / CASE).write_text("{")
    with pytest.raises(LamellaError, match="cannot be read"):
        open_case(folder)


def test_a_case_is_never_replaced_or_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # SPEC A3
    folder = written(tmp_path / "case", volume((10, 20, 30)))
    with pytest.raises(UsageError, match="exists"):
        written(folder, volume((10, 20, 30), 3))

    def full(*arguments: object, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("blosc2.asarray", full)
    with pytest.raises(LamellaError):
        written(tmp_path / "new", volume((10, 20, 30)))
    assert not (tmp_path / "new").exists()


def test_steps_are_refused(tmp_path: Path) -> None:
    thin = open_case(written(tmp_path / "case", volume((4, 5, 6)))).thin
    with pytest.raises(LamellaError, match="without steps"):
        thin[slice(0, 4, 2), slice(0, 5), slice(0, 6)]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "case", volume((4, 5, 6)))
    card = json.loads((folder / CASE).read_text())
    card["format"] = 9
    (folder / CASE).write_text(json.dumps(card))
    with pytest.raises(LamellaError, match="format 9, expected 1"):
        open_case(folder)


def test_a_volume_travels_to_another_process(tmp_path: Path) -> None:
    held = volume((10, 20, 30))
    thin = open_case(written(tmp_path / "case", held)).thin
    first = thin[slice(0, 1), slice(0, 20), slice(0, 30)]
    there = pickle.loads(pickle.dumps(thin))
    assert np.array_equal(there[slice(0, 1), slice(0, 20), slice(0, 30)], first)
    assert not (tmp_path / "case" / THICK).exists()
