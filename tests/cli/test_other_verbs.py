"""inspect, degrade, info, models, and the program itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu

from lamella import __version__
from lamella.cli import main
from lamella.dicom import read_series

Capture = pytest.CaptureFixture[str]


def test_version_says_research_only(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    said = capsys.readouterr().out
    assert __version__ in said
    assert "research use only" in said


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["thin"], ["models", "nonsense"], ["info", "extra"]])
def test_wrong_words_are_2(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "Usage: lamella" in said.err + said.out
    assert "Traceback" not in said.err


def test_inspect_lists_and_accepts(thick_study: Path, capsys: Capture) -> None:
    assert main(["inspect", str(thick_study)]) == 0
    said = capsys.readouterr().out
    for part in ("4 slices of 48 x 40", "5 mm thick", "every 5 mm", "readable"):
        assert part in said
    assert main(["inspect", str(thick_study), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["series"][0]["spacing_mm"] == pytest.approx(5.0)
    assert found["refusal"] is None


def test_inspect_tells_what_a_model_made(tmp_path: Path, capsys: Capture) -> None:
    build_series(tmp_path / "measured", phantom_hu())
    build_series(tmp_path / "made", phantom_hu(), tags={"SyntheticData": "YES"})
    for name, told in (("measured", False), ("made", True)):
        assert main(["inspect", str(tmp_path / name)]) == 0
        assert ("synthetic (a model made it)" in capsys.readouterr().out) is told
    assert main(["inspect", str(tmp_path / "made"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["series"][0]["synthetic"] is True


def test_inspect_refuses_what_thin_would(tmp_path: Path, capsys: Capture) -> None:  # SPEC C6
    for number in (1, 2):
        build_series(tmp_path / str(number), phantom_hu(4), series_uid=f"1.2.3.{number}")
    assert main(["inspect", str(tmp_path), "--json"]) == 3
    said = capsys.readouterr()
    assert [one["uid"] for one in json.loads(said.out)["series"]] == ["1.2.3.1", "1.2.3.2"]
    assert "--series" in said.err


def test_degrade_is_the_box_average(thin_study: Path, thick_study: Path) -> None:
    thin, thick = read_series(thin_study), read_series(thick_study)
    expected = np.rint(thin.hu.reshape(4, 5, 48, 40).mean(axis=1))
    assert np.abs(thick.hu - expected).max() <= 1  # .5 may round either way in float32
    assert thick.geometry.thickness_mm == 5.0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--thickness-mm", "5"], 2, "--spacing-mm"),
        (["--thickness-mm", "0.5", "--spacing-mm", "5"], 3, "cannot make slices finer"),
        (["--thickness-mm", "50", "--spacing-mm", "5"], 1, "too short"),
        (["--thickness-mm", "5", "--spacing-mm", "5", "--profile", "hat"], 2, "hat"),
    ],
)
def test_degrade_refusals(
    thin_study: Path, tmp_path: Path, capsys: Capture, options: list[str], code: int, message: str
) -> None:
    assert main(["degrade", str(thin_study), str(tmp_path / "out"), "--quiet", *options]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_info_counts_the_reference_unet(capsys: Capture) -> None:  # SPEC A10, A27, B1, B2
    assert main(["info", "--model", "medium", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unet"]["parameters"] == pytest.approx(599e6, rel=0.02)
    assert found["autoencoder"] == {"parameters": 20_944_897, "tensors": 130}
    assert main(["info", "--model", "medium"]) == 0
    assert "599.7 M" in capsys.readouterr().out
    assert main(["info", "--model", "mediun"]) == 2
    assert "nearest: medium" in capsys.readouterr().err


def test_info_is_json(capsys: Capture) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lamella"] == __version__
    assert "JPEG-LS Lossless Image Compression" in found["transfer_syntaxes"]
    assert found["devices"][0] == "cpu"
    assert main(["info"]) == 0
    assert f"lamella {__version__}" in capsys.readouterr().out


def test_models_list_and_verify(tiny_model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamella.models.shipped.SHIPPED", tiny_model.parent)
    assert main(["models", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["licence"], entry["folder"]) == ("tiny", "Apache-2.0", str(tiny_model))
    assert main(["models", "list"]) == 0
    assert entry["sha256"] in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert "complete" in capsys.readouterr().out
    assert main(["models", "verify", "no-such-model"]) == 2
    assert "no-such-model" in capsys.readouterr().err
