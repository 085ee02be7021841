from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_cache import volume

from lamella.data.cache import write_case
from lamella.data.index import CASES, INDEX, SPLIT, Entry, Index, SplitSettings, draw_split, frozen_split
from lamella.errors import LamellaError, UsageError

PATIENTS = [f"p-{n:03d}" for n in range(356)]


def counts(split: dict[str, str]) -> tuple[int, int, int]:
    found = list(split.values())
    return found.count("train"), found.count("validation"), found.count("test")


def test_356_patients() -> None:  # SPEC A2
    assert counts(draw_split(PATIENTS, SplitSettings())) == (267, 53, 36)


def test_ten_patients_leave_some_for_the_test() -> None:  # SPEC A2
    assert counts(draw_split(PATIENTS[:10], SplitSettings())) == (7, 1, 2)


@given(st.permutations(PATIENTS[:30]), st.integers(0, 5))
def test_the_order_does_not_matter(order: list[str], seed: int) -> None:  # SPEC A2
    assert draw_split(order, SplitSettings(seed)) == draw_split(PATIENTS[:30], SplitSettings(seed))


@given(st.integers(1, 60))
def test_everyone_is_in_one_split(count: int) -> None:  # SPEC A2
    assert sum(counts(draw_split(PATIENTS[:count], SplitSettings()))) == count


def test_another_seed_is_another_split() -> None:
    assert draw_split(PATIENTS, SplitSettings(1)) != draw_split(PATIENTS, SplitSettings(2))


def test_a_frozen_split_stays(tmp_path: Path) -> None:  # SPEC A2
    (tmp_path / SPLIT).write_text(json.dumps({"patients": {"p-1": "test"}}))
    entries = [Entry("c-1", "APE", "p-1"), Entry("c-2", "APE", "p-2"), Entry("c-3", "APE", "p-3", "train")]
    assert frozen_split(tmp_path, entries, SplitSettings()) == ({"p-1": "test", "p-3": "train"}, 1)


def test_one_patient_in_two_splits_is_refused(tmp_path: Path) -> None:  # SPEC A2
    entries = [Entry("c-1", "", "p-1", "train"), Entry("c-2", "", "p-1", "test")]
    with pytest.raises(UsageError, match="p-1 is asked into train and test"):
        frozen_split(tmp_path, entries, SplitSettings())
    with pytest.raises(UsageError, match="no split 'dev'"):
        frozen_split(tmp_path, [Entry("c-1", "", "p-1", "dev")], SplitSettings())
    with pytest.raises(UsageError, match="must lie in 0 to 1"):
        SplitSettings(train=0.9, validation=0.2)


def test_an_index_opens_its_cases(tmp_path: Path) -> None:
    write_case(tmp_path / CASES / "c-1", "c-1", "APE", "p-1", volume((3, 4, 5)), None)
    listed = [{"case_id": "c-1", "category": "APE", "patient_id": "p-1", "split": ""}]
    (tmp_path / INDEX).write_text(json.dumps({"cases": listed}))
    with pytest.raises(UsageError, match="no prepared data set"):
        Index.load(tmp_path)
    (tmp_path / SPLIT).write_text(json.dumps({"patients": {"p-1": "validation"}}))
    index = Index.load(tmp_path)
    assert (index.cases("validation"), index.cases("train")) == (("c-1",), ())
    assert index.open("c-1").thin.shape == (3, 4, 5)
    with pytest.raises(LamellaError, match="no case c-2"):
        index.open("c-2")
    with pytest.raises(UsageError, match="no split 'all'"):
        index.cases("all")
