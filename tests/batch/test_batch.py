"""`lamella batch` from SOURCE to records and page (issue 27: cohorts)."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from tests.batch.cohort import BROKEN, PLANTED, build_cohort, hashes, run, series_uid, states, whole

from lamella.cli import main


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_cohort(tmp_path_factory.mktemp("cohort") / "in", 12, BROKEN)


@pytest.fixture(scope="module")
def done(cohort: Path, tiny_model: Path) -> Path:
    """OUT of a whole batch of twelve studies, three of them broken."""
    out = cohort.parent / "out"
    told = run(cohort, out, "--model", tiny_model, "--spacing-mm", 2.5, "--debug")
    assert told.returncode == 8, told.stderr
    assert told.stdout.count("done") == 10  # nine series, and the last line
    assert " left" in told.stdout
    assert PLANTED not in told.stdout + told.stderr.replace(str(cohort), "")
    return out


def test_twelve_studies_three_broken_nine_series_three_reasons(done: Path) -> None:
    record = whole(done)
    assert record.finished
    assert [record.count(state) for state in ("done", "refused", "failed", "passed over")] == [9, 3, 0, 0]
    for one in record.cases:
        assert bool(one.reason) == (one.state == "refused") == (series_uid(int(one.study.split(".")[-1])) in refused())
        assert (done / one.series).is_dir() == (one.state == "done") == bool(one.sha256)
    missing, empty, cut = (one.reason for one in record.cases if one.state == "refused")
    assert "slice is missing between file 2 and file 3" in missing
    assert "file 2 is empty" in empty or "file 2 is named like DICOM and is none" in empty
    assert "file 4 has the wrong length" in cut
    assert all(
        one.consistency_rmse_hu is not None and one.consistency_rmse_hu < 0.5 for one in record.cases if one.sha256
    )


def refused() -> set[str]:
    return {series_uid(number) for number in BROKEN}


def test_the_table_has_a_line_a_series(done: Path) -> None:
    with (done / "batch.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["series"] for row in rows] == [one.series for one in whole(done).cases]
    assert {"series", "study", "folder", "state", "reason", "seconds", "consistency_rmse_hu", "sha256"} <= set(rows[0])


def test_nothing_of_a_patient_is_in_records_page_and_names(done: Path) -> None:  # SPEC C11, issue 27 item 6
    for path in done.rglob("*"):
        assert PLANTED not in path.name
        if path.is_file() and "series" not in path.relative_to(done).parts:  # the series itself is the patient's
            assert PLANTED.encode() not in path.read_bytes(), path.name


def test_the_same_command_again_keeps_everything(cohort: Path, done: Path, tiny_model: Path) -> None:
    before, record = states(done), whole(done)
    told = run(cohort, done, "--model", tiny_model, "--spacing-mm", 2.5)
    assert told.returncode == 8
    assert told.stdout.count(" kept ") == 9
    after = states(done)
    own = ("batch.json", "batch.csv", "index.html")
    assert {name: one for name, one in after.items() if name not in own} == {
        name: one for name, one in before.items() if name not in own
    }
    assert whole(done).cases == record.cases


@pytest.mark.slow
def test_a_damaged_result_is_made_again_and_other_settings_are_refused(
    cohort: Path, done: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out, source = tmp_path / "out", tmp_path / "in"
    for number in (1, 2, 4):
        shutil.copytree(cohort / f"{PLANTED}-{number:03d}", source / str(number))
    shutil.copytree(done, out)
    before = {series_uid(number): hashes(whole(done))[series_uid(number)] for number in (1, 2, 4)}
    one = out / series_uid(1) / "series" / "IM_00002.dcm"
    one.write_bytes(one.read_bytes()[:-100])
    (out / series_uid(2) / "thumbnail.png").unlink()
    told = run(source, out, "--model", tiny_model, "--spacing-mm", 2.5)
    assert (told.returncode, told.stdout.count(" kept ")) == (0, 1)
    assert hashes(whole(out)) == before
    told = run(source, out, "--model", tiny_model, "--spacing-mm", 2.0, "--quiet")
    assert (told.returncode, whole(out).count("failed"), told.stdout) == (8, 3, "")
    assert {one.reason for one in whole(out).cases} == {
        "Its folder holds a result of other settings, another version or other content. Give --overwrite to replace it, or "
        "choose another OUT."
    }
    assert (out / series_uid(1) / "record.json").is_file()
    assert run(source, out, "--model", tiny_model, "--spacing-mm", 2.0, "--quiet", "--overwrite").returncode == 0
    assert hashes(whole(out)).keys() == before.keys()
    assert not set(hashes(whole(out)).values()) & set(before.values())


@pytest.mark.slow
def test_two_workers_give_the_same_hashes_and_all_that_is_asked_for(
    cohort: Path, done: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out, source = tmp_path / "out", tmp_path / "in"
    for number in (1, 2, 4):
        shutil.copytree(cohort / f"{PLANTED}-{number:03d}", source / str(number))
    asked = ["--spacing-mm", 2.5, "--workers", 2, "--pages", "--previews", "--spread"]
    told = run(source, out, "--model", tiny_model, *asked)
    assert told.returncode == 0, told.stderr
    assert hashes(whole(out)) == {series_uid(n): hashes(whole(done))[series_uid(n)] for n in (1, 2, 4)}
    names = {path.name for path in (out / series_uid(1)).iterdir()}
    assert names >= {"report.html", "preview.png", "thumbnail.png", "spread.nii.gz", "report.json", "record.json"}


def test_a_dry_run_says_what_would_become_of_every_series(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("description: nowhere\n")
    assert main(["batch", str(cohort), str(tmp_path / "out"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert told.count("would thin") == 10  # whether the pixels are whole, reading says
    assert told.count("would refuse") == 2
    assert "10 chosen, 2 refused, 0 passed over" in told
    assert main(["batch", str(cohort), str(tmp_path / "out"), "--dry-run", "--rules", str(rules)]) == 0
    told = capsys.readouterr().out
    assert told.count("description: the rule does not match") == 12
    assert PLANTED not in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere", "out"], 2, "SOURCE does not exist"),
        (["in", "in/out"], 2, "OUTPUT lies inside SOURCE"),
        (["in", "."], 2, "SOURCE lies inside OUTPUT"),
        (["in", "other"], 2, "OUT holds files and is no batch"),
        (["empty", "out"], 3, "The sources hold no DICOM series and no NIfTI file"),
        (["in", "out", "--model", "nothing"], 2, "There is no model 'nothing'"),
        (["in", "out", "--mode", "mean", "--steps", "3"], 2, "The mean is not sampled in steps"),
        (["in", "out", "--part", "3/2"], 2, "There is no part 3 of 2"),
        (["in", "out", "--rules", "nowhere.yaml"], 2, "nowhere.yaml cannot be read"),
    ],
)
def test_wrong_usage_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    build_cohort(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    assert main(["batch", *words]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
