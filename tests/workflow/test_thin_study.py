"""`thin_study` as a library function: what is checked before, what is computed once, what is said after."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pydicom
import pytest
from pydicom.dataelem import DataElement
from tests.dicom_builder import PATIENT_NAME

from lamella.cli import main
from lamella.cli.thin import OPTIONS
from lamella.embedded import model as embedded
from lamella.phantom import PhantomSettings
from lamella.physics.slice_operator import Profile
from lamella.report import preview as pictures
from lamella.report.layout import PreviewPanel
from lamella.thinning.settings import ThinSettings
from lamella.workflow import demo
from lamella.workflow.simulate_thick import ProfileName
from lamella.workflow.study import Study
from lamella.workflow.thin_study import ThinRequest, thin_study

Capture = pytest.CaptureFixture[str]
SMALL_PHANTOM = PhantomSettings(shape=(20, 48, 40), pixel_mm=3.0, nodules=0)


@pytest.fixture
def no_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    def began(*_: object) -> None:
        raise AssertionError("the computation began")

    monkeypatch.setattr("lamella.thinning.thin.thin", began)


@pytest.fixture
def panels_drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The headings of every preview that is drawn."""
    drawn: list[list[str]] = []

    def render(path: Path, panels: list[PreviewPanel], **_: Any) -> None:
        drawn.append([panel.label for panel in panels])
        path.write_bytes(b"picture")

    monkeypatch.setattr(pictures, "render_preview", render)
    return drawn


def bent(source: Path, target: Path, change: Callable[[pydicom.Dataset], None]) -> Path:
    """A copy of a series with changed headers."""
    shutil.copytree(source, target)
    for file in target.iterdir():
        header = pydicom.dcmread(file)
        with pydicom.config.disable_value_validation():
            change(header)
            header.save_as(file)
    return target


def no_study_uid(header: pydicom.Dataset) -> None:
    del header.StudyInstanceUID


def number_for_a_date(header: pydicom.Dataset) -> None:
    header[0x00080020] = DataElement(0x00080020, "US", 2020)


def number_for_an_id(header: pydicom.Dataset) -> None:
    header[0x00200010] = DataElement(0x00200010, "FD", 1.5)


@pytest.mark.usefixtures("no_computation")
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry run"])
@pytest.mark.parametrize(
    ("change", "named"),
    [(no_study_uid, "StudyInstanceUID"), (number_for_a_date, "StudyDate"), (number_for_an_id, "StudyID")],
)
def test_a_header_that_cannot_be_copied_is_refused_before_the_computation(  # SPEC C6
    thick_study: Path,
    tiny_model: Path,
    tmp_path: Path,
    capsys: Capture,
    change: Callable[[pydicom.Dataset], None],
    named: str,
    more: list[str],
) -> None:
    source = bent(thick_study, tmp_path / "source", change)
    assert main(["thin", str(source), str(tmp_path / "out"), "--model", str(tiny_model), "--quiet", *more]) == 3
    said = capsys.readouterr().err
    assert named in said
    assert PATIENT_NAME not in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_thick_slices_are_not_simulated_of_a_header_that_cannot_be_copied(  # SPEC C6
    thick_study: Path, tmp_path: Path, capsys: Capture
) -> None:
    source = bent(thick_study, tmp_path / "source", number_for_a_date)
    to_10_mm = ["--thickness-mm", "10", "--spacing-mm", "10", "--quiet"]
    assert main(["degrade", str(source), str(tmp_path / "out"), *to_10_mm]) == 3
    assert "StudyDate" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_nifti_needs_none_of_it(thick_study: Path, tiny_model: Path, tmp_path: Path) -> None:
    source = bent(thick_study, tmp_path / "source", no_study_uid)
    result = thin_study(ThinRequest(source, tmp_path / "out.nii.gz", model=str(tiny_model)))
    assert (tmp_path / "out.nii.gz").is_file()
    assert result.report["output"]["series_uid"] is None


def test_three_functions_thin(thin_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the command's verb and the network."""
    seen: list[list[str]] = []
    predict = embedded.predict

    def watched(*args: Any, **kwargs: Any) -> Any:
        stack = [(Path(frame.filename).parent.name, frame.name) for frame in traceback.extract_stack()]
        seen.append(
            [".".join(call) for call in stack[stack.index(("cli", "thin")) + 1 :] if call[1].startswith("thin")]
        )
        return predict(*args, **kwargs)

    monkeypatch.setattr(embedded, "predict", watched)
    assert main([*thin_command, str(tmp_path / "out")]) == 0
    assert seen == [["workflow.thin_study", "thinning.thin", "embedded.thin"]]


@pytest.mark.parametrize("mode", ["mean", "texture"])
def test_preview_and_page_are_of_the_answer_itself(
    thin_command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    panels_drawn: list[list[str]],
    mode: str,
) -> None:
    passes = []
    thin = embedded.EmbeddedModel.thin

    def counted(*args: Any) -> Any:
        passes.append(args[3].mode)
        return thin(*args)

    monkeypatch.setattr(embedded.EmbeddedModel, "thin", counted)
    more = ["--preview", str(tmp_path / "p.png"), "--report", str(tmp_path / "r.html"), "--mode", mode]
    assert main([*thin_command, str(tmp_path / "out"), *more]) == 0
    assert passes == [mode]
    assert panels_drawn == [["Thick, as measured", "Cubic interpolation", f"Lamella {mode}"]]


def test_a_page_says_which_of_several_samples_it_shows(
    thin_command: list[str], tmp_path: Path, panels_drawn: list[list[str]]
) -> None:
    page = tmp_path / "r.html"
    more = ["--preview", str(tmp_path / "p.png"), "--report", str(page), "--mode", "texture", "--samples", "2"]
    assert main([*thin_command, str(tmp_path / "out"), *more]) == 0
    assert panels_drawn == [["Thick, as measured", "Cubic interpolation", "Lamella texture 1 of 2"]]
    assert "Lamella texture 1 of 2" in page.read_text(encoding="utf-8")


def test_the_demonstration_shows_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, panels_drawn: list[list[str]]
) -> None:
    monkeypatch.setattr("lamella.phantom.PhantomSettings", lambda: SMALL_PHANTOM)
    done = demo.run_demo(tmp_path / "demo")
    assert panels_drawn == [["Thick, as measured", "Cubic interpolation", "Lamella mean", "Truth"]]
    assert set(done.rmse_hu) == {"cubic", "Lamella mean"}
    assert done.truth.is_dir()


def test_without_the_extra_the_demonstration_draws_nothing_and_a_preview_is_refused_first(
    thin_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("lamella.machine.extras.EXTRAS", {"report": ("no_such_package",)})
    monkeypatch.setattr("lamella.phantom.PhantomSettings", lambda: SMALL_PHANTOM)
    assert main(["demo", str(tmp_path / "demo")]) == 0
    assert not (tmp_path / "demo" / "preview.png").exists()
    assert "pip install 'lamella[report]'" in capsys.readouterr().out
    monkeypatch.setattr("lamella.sources.source.read_source", None)
    for more in (["--preview", str(tmp_path / "p.png")], ["--report", str(tmp_path / "r.html")]):
        assert main([*thin_command, str(tmp_path / "out"), *more]) == 2
        assert "no_such_package" in capsys.readouterr().err


@pytest.mark.slow
def test_answers_to_one_series_have_numbers_of_their_own(thin_command: list[str], tmp_path: Path) -> None:  # SPEC C5
    found: dict[str, int] = {}
    for mode, samples in (("mean", 1), ("texture", 2), ("sample", 2)):
        for again in ("", " again"):
            out = tmp_path / f"{mode}{again}"
            more = [] if mode == "mean" else ["--samples", str(samples), "--steps", "1"]
            assert main([*thin_command, str(out), "--mode", mode, *more]) == 0
            for file in out.rglob("*00001.dcm"):
                header = pydicom.dcmread(file, stop_before_pixels=True)
                found[f"{mode}{again} {header.SeriesInstanceUID}"] = int(header.SeriesNumber)
    numbers = {name: number for name, number in found.items() if " again " not in name}
    assert len(set(numbers.values())) == len(numbers) == 5
    assert {name.replace(" again", ""): number for name, number in found.items() if " again " in name} == numbers


def test_precision_and_memory_reach_the_model(thin_command: list[str], tmp_path: Path) -> None:
    seen: list[Study] = []
    request = ThinRequest.of(
        source=Path(thin_command[-1]),
        output=tmp_path / "out",
        model=thin_command[2],
        precision="fp32",
        memory_gb=2.5,
    )
    thin_study(request, planned=seen.append)
    assert (seen[0].settings.precision, seen[0].settings.memory_gb) == ("fp32", 2.5)
    assert main([*thin_command, str(tmp_path / "no"), "--memory-gb", "0"]) == 2
    assert main([*thin_command, str(tmp_path / "no"), "--precision", "fp8"]) == 2
    small = [*thin_command, str(tmp_path / "no"), "--memory-gb", "0.01"]
    assert main(small) == 3


def test_every_setting_is_an_option() -> None:
    declared = {one.name for kind in (ThinRequest, ThinSettings) for one in fields(kind)}
    assert set(OPTIONS) == declared - {"settings", "project"}


def test_seconds_by_stage(thin_command: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    begun: dict[str, float] = {}

    def progress(stage: str, fraction: float) -> None:
        told.append(stage)
        begun.setdefault(stage, fraction)

    request = ThinRequest(Path(thin_command[-1]), tmp_path / "out", model=thin_command[2])
    report = thin_study(request, progress).report
    assert begun["mean"] == 0.0, "the stage is shown when it begins, not when its first block is done"
    assert "consistency" in report["seconds"]
    assert list(report["seconds"])[:2] == ["read", "load"]
    assert list(report["seconds"])[-1] == "write"
    assert list(dict.fromkeys(told)) == ["read", "load", "mean", "write"]


def test_profiles_are_those_of_physics() -> None:
    assert get_args(ProfileName) == get_args(Profile)
