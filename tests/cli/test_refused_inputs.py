"""The run, its dry run, `degrade` and `inspect` refuse the same inputs with the same words, and leave nothing at OUTPUT."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from tests.broken_studies import STUDIES
from tests.dicom_builder import PATIENT_NAME, body_hu, build_series
from tests.nifti_builder import affine_for, save

from lamella.cli import main

# SPEC C6

WITHIN_S = 2.0

RUN = """
import contextlib, io, json, os, sys, time
from lamella.cli import main
from lamella.sources.source import read_source
import lamella.thinning.coverage
read_source(sys.argv[1])  # what reading and measuring need is loaded
answers = []
for command in json.load(sys.stdin):
    said, began = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main(command)
    seconds, words = time.perf_counter() - began, " ".join(said.getvalue().split())
    answers.append([code, seconds, words, "torch" in sys.modules, os.listdir(sys.argv[2])])
print(json.dumps(answers))
"""


def commands(source: Path, out: Path) -> list[list[str]]:
    """Run, dry run, averaging and inspection of one source."""
    result = str(out / "result.nii.gz") if source.suffix in (".nii", ".gz") else str(out / "result")
    thin = ["thin", str(source), result, "--quiet"]
    degrade = ["degrade", str(source), result, "--thickness-mm", "10", "--spacing-mm", "10", "--quiet"]
    return [thin, [*thin, "--dry-run"], degrade, ["inspect", str(source), "--quiet"]]


def answered(asked: list[list[str]], whole: Path, out: Path) -> list[Any]:
    """What a process of its own answers: exit code, seconds, words, whether torch is loaded, and what is in `out`."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(whole), str(out)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Four answers to every broken study."""
    root, out = tmp_path_factory.mktemp("broken"), tmp_path_factory.mktemp("out")
    build_series(root / "whole", body_hu(4))
    asked = [commands(build(root / name), out) for name, build in STUDIES.items()]
    found = answered([command for four in asked for command in four], root / "whole", out)
    return {name: found[4 * number : 4 * number + 4] for number, name in enumerate(STUDIES)}


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_broken_is_refused_at_once_and_alike(answers: dict[str, list[Any]], name: str) -> None:
    codes, seconds, said, torch, written = zip(*answers[name], strict=True)
    assert codes == (3, 3, 3, 3), said
    assert len(set(said)) == 1
    assert said[0]
    assert max(seconds) < WITHIN_S
    assert not any(torch), "no network was needed to refuse it"
    assert not any(written)
    assert PATIENT_NAME.split("^")[0] not in said[0]


def test_the_process_ends_with_3(tmp_path: Path) -> None:
    source = STUDIES["missing"](tmp_path / "in")
    for command in commands(source, tmp_path):
        assert (
            subprocess.run([sys.executable, "-m", "lamella", *command], check=False, capture_output=True).returncode
            == 3
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


SENSELESS = [
    ["--spacing-mm", "0"], ["--spacing-mm", "-1"], ["--spacing-mm", "nan"], ["--slices", "0"],
    ["--spacing-mm", "1", "--slices", "4"], ["--seed", "-1"], ["--mode", "hat"], ["--steps", "0"], ["--device", "abacus"],
    ["--model", "nowhere"], ["--thickness-mm", "-5"],
]  # fmt: skip


def test_senseless_options_are_wrong_usage_before_torch_is_loaded(tmp_path: Path) -> None:
    build_series(tmp_path / "in", body_hu(4))
    asked = [["thin", str(tmp_path / "in"), str(tmp_path / "out"), *options] for options in SENSELESS]
    for options, (code, _, said, torch, written) in zip(
        SENSELESS, answered(asked, tmp_path / "in", tmp_path), strict=True
    ):
        assert (code, torch, written) == (2, False, ["in"]), options
        assert "Value error" not in said


def test_strict_refuses_a_series_with_missing_parts(
    thick_study: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for file in thick_study.iterdir():
        header = pydicom.dcmread(file)
        header.NumberOfSeriesRelatedInstances = 99
        header.save_as(tmp_path / "in" / file.name)
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    thin = ["thin", source, out, "--model", str(tiny_model), "--quiet"]
    like = ["thin", str(thick_study), out, "--like", source, "--model", str(tiny_model), "--quiet"]
    degrade = ["degrade", source, out, "--thickness-mm", "10", "--spacing-mm", "10", "--quiet"]
    inspect, said = ["inspect", source, "--quiet"], []
    for command in (thin, [*thin, "--dry-run"], degrade, inspect, like):
        assert main([*command, "--strict"]) == 3
        said.append(" ".join(capsys.readouterr().err.split()))
        assert not (tmp_path / "out").exists()
    assert "NumberOfSeriesRelatedInstances says 99" in said[0]
    assert said == [said[0]] * 4 + [f"--like: {said[0]}"]
    for command in (inspect, [*like, "--dry-run"], degrade, [*thin, "--overwrite"]):
        assert main(command) == 0
    assert (tmp_path / "out").is_dir()


def _without_study(folder: Path) -> Path:
    build_series(folder, body_hu(4), tags={"StudyInstanceUID": None})
    return folder


def _thick(thickness_mm: float, spacing_mm: float) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        build_series(folder, body_hu(4), spacing_mm, thickness_mm)
        return folder

    return build


def _nifti_of(spacing_mm: float) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        folder.mkdir()
        hu = np.transpose(body_hu(4), (2, 1, 0))
        path: Path = save(folder / "in.nii", hu, affine_for(spacing=(0.7, 0.8, spacing_mm)))
        return path

    return build


UNSUITED: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "500 mm thick": (_thick(500.0, 5.0), [], "The slice thickness is far outside what the model was trained for"),
    "500 mm apart": (_thick(5.0, 500.0), [], "The slice spacing is far outside what the model was trained for"),
    "thin already": (_thick(1.0, 1.0), [], "This series is thin already"),
    "finer than 1 mm": (_thick(2.5, 0.8), [], "The slices asked for are coarser than the input"),
    "coarser than asked": (
        _thick(5.0, 5.0),
        ["--spacing-mm", "9"],
        "coarser than the input. Found a target spacing of 9 mm",
    ),
    "no study": (_without_study, [], "has no StudyInstanceUID"),
    "NIfTI 500 mm apart": (_nifti_of(500.0), [], "The slice thickness is far outside"),
    "NIfTI thin already": (_nifti_of(1.0), [], "This series is thin already"),
}
"""What only the model cannot do -> what builds it, options, and what is said."""


@pytest.mark.parametrize("name", UNSUITED)
def test_what_only_the_model_cannot_do_is_refused_alike_before_torch_is_loaded(tmp_path: Path, name: str) -> None:
    build, options, why = UNSUITED[name]
    source, out = build(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    build_series(tmp_path / "whole", body_hu(4))
    asked = [commands(source, out)[k] + options for k in (0, 1, 3)]
    codes, _, said, torch, written = zip(*answered(asked, tmp_path / "whole", out), strict=True)
    assert codes == (3, 3, 3)
    assert len(set(said)) == 1
    assert why in said[0]
    assert not any(torch), "no network was needed to refuse it"
    assert not any(written)


def test_inspect_goes_by_the_model_that_is_asked_for(tiny_model: Path, tmp_path: Path) -> None:
    build_series(tmp_path / "in", body_hu(4), 5.0, 5.0)
    assert main(["inspect", str(tmp_path / "in"), "--model", str(tiny_model), "--quiet"]) == 0
    card = tmp_path / "model" / "model.yaml"
    shutil.copytree(tiny_model, card.parent)
    changed = yaml.safe_load(card.read_text()) | {"limits": {"thickness_mm": [0.6, 1.2], "spacing_mm": [0.6, 1.2]}}
    card.write_text(yaml.safe_dump(changed))
    assert main(["inspect", str(tmp_path / "in"), "--model", str(card.parent), "--quiet"]) == 3
    assert main(["inspect", str(tmp_path / "in"), "--model", "nowhere", "--quiet"]) == 2
