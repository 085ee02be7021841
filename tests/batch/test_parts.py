"""Shares of a batch: disjoint, complete, the same on every machine; and what joins them (issue 27: shards)."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from tests.batch.cohort import build_cohort, hashes, run, series_uid, whole

from lamella.batch.merge import merge_parts
from lamella.batch.parts import Part, part_of
from lamella.batch.record import BatchRecord, CaseRecord, in_order, read_records, write_records
from lamella.cli import main
from lamella.errors import LamellaError, UsageError


@pytest.mark.parametrize("count", [1, 2, 7])
def test_parts_are_disjoint_and_complete(count: int) -> None:
    parts = [Part(number, count) for number in range(1, count + 1)]
    names = [series_uid(number) for number in range(300)]
    held = [[part for part in parts if part.holds(name)] for name in names]
    assert all(len(one) == 1 for one in held)
    assert {str(one[0]) for one in held} == {f"{number}/{count}" for number in range(1, count + 1)}


def test_a_series_stays_in_its_part_whatever_the_machine() -> None:
    assert [Part(number, 3).holds("1.2.3") for number in (1, 2, 3)] == [True, False, False]  # fixed by SHA-256


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, None),
        ("2/5", {"JOB_COMPLETION_INDEX": "0"}, "2/5"),
        (None, {"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "4"}, "1/4"),
        (None, {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "3"}, "3/3"),
        (None, {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "8"}, "1/8"),
        (
            None,
            {
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            "3/4",
        ),
    ],
)
def test_schedulers_name_the_part(text: str | None, environment: dict[str, str], expected: str | None) -> None:
    part = part_of(text, environment)
    assert (None if part is None else str(part)) == expected


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("2", {}, "--part must read I/N"),
        ("0/3", {}, "There is no part 0 of 3"),
        ("4/3", {}, "There is no part 4 of 3"),
        (None, {"JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETIONS does not say which"),
        (None, {"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_MIN": "0"}, "SLURM_ARRAY_TASK_ID does not say which"),
    ],
)
def test_a_part_that_is_none_is_refused(text: str | None, environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        part_of(text, environment)


EMPTY = BatchRecord("0.1.0", True, None, {"take": "all"}, {"mode": "mean"}, ())
DONE = CaseRecord("1.1", "1", "1.1", sha256="a")
REFUSED = CaseRecord("1.2", "1", "", "refused", "cut off")


def write_part(out: Path, number: int, *cases: CaseRecord, **changes: object) -> None:
    out.mkdir(exist_ok=True)
    for case in cases:
        if case.folder:
            (out / case.folder).mkdir()
    record = dataclasses.replace(EMPTY, part=f"{number}/2", cases=in_order(cases), **changes)  # type: ignore[arg-type]
    write_records(out, record)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    record = dataclasses.replace(EMPTY, cases=(DONE, REFUSED))
    write_records(tmp_path, record)
    assert read_records(tmp_path / "batch.json") == record
    (tmp_path / "batch.json").write_text("{}")
    with pytest.raises(LamellaError, match=r"batch.json is no record of a batch"):
        read_records(tmp_path / "batch.json")


def test_batches_of_other_folders_become_one_and_again(tmp_path: Path) -> None:
    for name, series in (("one", "1.1"), ("two", "2.1")):
        (tmp_path / name / series).mkdir(parents=True)
        case = dataclasses.replace(DONE, series=series, study=series, folder=series)
        write_records(tmp_path / name, dataclasses.replace(EMPTY, cases=(case,), finished=True, part=None))
    for _ in range(2):
        assert main(["batch", "merge", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
        assert [one.series for one in whole(tmp_path / "one").cases] == ["1.1", "2.1"]
        page = (tmp_path / "one" / "index.html").read_text()
        assert 'src="1.1/thumbnail.png"' in page
        assert 'src="../two/2.1/thumbnail.png"' in page


def test_parts_in_several_folders_become_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_part(tmp_path / "one", 1, DONE)
    write_part(tmp_path / "two", 2, REFUSED, dataclasses.replace(DONE, series="2.1", study="2", folder="2.1"))
    assert main(["batch", "merge", str(tmp_path / "one"), str(tmp_path / "two")]) == 8
    assert "2 series done, 1 refused" in capsys.readouterr().out
    merged = whole(tmp_path / "one")
    assert [one.series for one in merged.cases] == ["1.1", "1.2", "2.1"]
    with (tmp_path / "one" / "batch.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done", "refused", "done"]
    page = (tmp_path / "one" / "index.html").read_text()
    assert 'src="1.1/thumbnail.png"' in page
    assert 'src="../two/2.1/thumbnail.png"' in page
    assert merge_parts([tmp_path / "one", tmp_path / "two"]) == merged  # again: the joined record is no part


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (None, "Parts are missing: 2/2"),
        ({"finished": False}, "Parts have not ended: 2/2"),
        ({"settings": {"mode": "texture"}}, "records of other rules, settings or another version"),
    ],
)
def test_what_is_not_one_whole_batch_is_refused(tmp_path: Path, second: dict[str, object] | None, message: str) -> None:
    write_part(tmp_path, 1, DONE)
    if second is not None:
        write_part(tmp_path, 2, REFUSED, **second)
    with pytest.raises(UsageError, match=message):
        merge_parts([tmp_path])
    assert not (tmp_path / "index.html").exists()
    with pytest.raises(UsageError, match="holds no records of a batch"):
        merge_parts([tmp_path.parent / "nowhere"])


@pytest.mark.slow
def test_two_parts_make_what_one_run_makes(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_cohort(tmp_path / "in", 5, broken=(3,))
    asked = ["--model", tiny_model, "--spacing-mm", 2.5, "--quiet"]
    assert run(tmp_path / "in", tmp_path / "whole", *asked).returncode == 8
    assert run(tmp_path / "in", tmp_path / "out", *asked, "--part", "1/2").returncode in (0, 8)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    monkeypatch.setenv("JOB_COMPLETIONS", "2")
    assert run(tmp_path / "in", tmp_path / "out", *asked).returncode in (0, 8)
    parts = [read_records(tmp_path / "out" / f"batch-{number}-of-2.json") for number in (1, 2)]
    first, second = ({one.series for one in part.cases} for part in parts)
    assert not first & second
    assert first | second == {series_uid(number) for number in range(1, 6)}
    assert run("merge", tmp_path / "out").returncode == 8
    assert hashes(whole(tmp_path / "out")) == hashes(whole(tmp_path / "whole"))
