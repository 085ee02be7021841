"""A hospital's own series in one command: found, thickened, measured, on a page; and nobody is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.raw_studies import study, zipped

from lamella.cli import main
from lamella.errors import UsageError
from lamella.evaluate.own_series import people_in, settings_of_series
from lamella.evaluate.settings import GeometrySettings
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.results.files import read_results
from lamella.sources.source import read_source
from lamella.volume import Volume, round_hu

FIVE = GeometrySettings(5.0, 5.0)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people: a folder with a thin and a thick series, a ZIP, and a folder with nothing that can be read."""
    folder = tmp_path_factory.mktemp("hospital")
    study(folder / "Miller^Anna", seed=1)
    zipped(study(tmp_path_factory.mktemp("zip"), seed=2) / "b", folder / "Smith^Bob.zip")
    (folder / "Young^Carl").mkdir()
    (folder / "Young^Carl" / "letter.txt").write_text("no image")
    (folder / "list.csv").write_text("a,b")
    return folder


def test_every_person_is_a_case_and_the_thinnest_series_is_taken(hospital: Path, tmp_path: Path) -> None:
    settings = settings_of_series(hospital, FIVE, tmp_path / "out")
    assert [one.name for one in settings.series] == ["person-1", "person-2", "person-3"]
    assert all(one.geometries == (FIVE,) and one.person for one in settings.series)
    first = settings.series[0]
    assert read_source(first.path, first.series_uid).geometry.spacing_mm == pytest.approx(1.0)
    assert settings.series[1].series_uid is None  # one series: nothing to choose


def test_loose_files_are_one_person(hospital: Path) -> None:
    assert people_in(hospital / "Miller^Anna" / "b") == [hospital / "Miller^Anna" / "b"]


def test_one_command_from_the_folder_to_the_page(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["evaluate", "--series", str(hospital), "--thickness-mm", "5", "--spacing-mm", "5", str(out)]
    less = ["baselines=[cubic]", "spheres=false", "models.0.modes=[mean]", "volumes=[]"]
    assert main([*asked, *less]) == 8  # the third person has no image
    said = capsys.readouterr()
    _, found = read_results(out)
    assert [case.title for case in found.cases] == ["person-1, 5 mm every 5 mm", "person-2, 5 mm every 5 mm"]
    assert [one.case for one in found.failures] == ["person-3_5-every-5"]
    body = next(one for one in found.paired if (one.figure, one.against) == ("rmse_body_hu", "cubic projected"))
    assert set(body.differences) == {"person-1", "person-2"}
    page, table = (out / "evaluation.html").read_text("utf-8"), (out / "table.md").read_text("utf-8")
    assert "with fewer than six" in page
    assert "## People: Lamella mean minus Cubic, projected" in table
    for text in (page, table, (out / "results.json").read_text("utf-8"), said.out, said.err):
        for name in ("Miller", "Smith", "Young"):
            assert name not in text
    assert main([*asked, *less, "--quiet"]) == 8  # goes on: nothing is measured again
    assert read_results(out)[1].cases == found.cases


def test_a_nifti_file_is_a_person(tmp_path: Path) -> None:
    from lamella.nifti.image import write_nifti

    painted = paint_phantom(PhantomSettings(shape=(20, 32, 32), pixel_mm=3.0, nodules=0))
    (tmp_path / "in").mkdir()
    write_nifti(tmp_path / "in" / "x.nii.gz", [Volume(round_hu(painted.hu), painted.geometry)], None)
    (one,) = settings_of_series(tmp_path / "in", FIVE, tmp_path / "out").series
    assert (one.name, one.series_uid) == ("person-1", None)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (["--series", "{in}", "{out}"], "needs --thickness-mm and --spacing-mm"),
        (["--series", "{in}", "--thickness-mm", "0", "--spacing-mm", "5", "{out}"], "--thickness-mm must be above 0"),
        (["--series", "{in}/none", "--thickness-mm", "5", "--spacing-mm", "5", "{out}"], "is no folder"),
        (["--series", "{in}", "--thickness-mm", "5", "--spacing-mm", "5", "{in}/out"], "be taken for a person"),
        (["--thickness-mm", "5", "{out}"], "belong to --series"),
    ],
)
def test_wrong_requests(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str], why: str
) -> None:
    places = {"in": str(hospital), "out": str(tmp_path / "out")}
    assert main(["evaluate", *(one.format(**places) for one in asked)]) == 2
    assert why in " ".join(capsys.readouterr().err.split())


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is empty"):
        people_in(tmp_path)
