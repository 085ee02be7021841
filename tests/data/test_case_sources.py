"""Prepared cases as what blocks are cut from."""

from __future__ import annotations

import pytest
from tests.stored_cases import StoredCase, noise, stored_index

from lamella.data.load import case_sources, reformatted_sources
from lamella.errors import UsageError


def test_thin_cases_count_more_and_views_of_them_are_thin() -> None:
    index = stored_index(StoredCase("thin", noise(40, 1.0, 40)), StoredCase("coarse", noise(20, 2.5, 40)))
    weights = {one.name: one.weight for one in case_sources(index, "train")}
    assert weights == {"thin": 1.0, "coarse": pytest.approx(0.4)}
    views = {one.name: one for one in reformatted_sources(index, "train", 0.1)}
    assert sorted(views) == ["coarse/x", "coarse/y", "thin/x", "thin/y"]
    assert all(one.weight == 0.1 and one.spacing_mm == pytest.approx(0.8) for one in views.values())


def test_views_that_memory_cannot_hold_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:  # SPEC A16
    index = stored_index(StoredCase("thin", noise(40, 1.0, 40)), StoredCase("coarse", noise(20, 2.5, 40)))
    held = sum(one.thin.nbytes for one in reformatted_sources(index, "train", 0.1) if one.name.endswith("/x"))  # type: ignore[attr-defined]
    monkeypatch.setattr("lamella.data.load.available_bytes", lambda: int(1.9 * held))
    with pytest.raises(UsageError, match=r"2 cases seen along rows and columns need .* Set data\.reformat=0"):
        reformatted_sources(index, "train", 0.1)
    monkeypatch.setattr("lamella.data.load.available_bytes", lambda: int(2.1 * held))
    assert len(reformatted_sources(index, "train", 0.1)) == 4
