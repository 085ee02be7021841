from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lamella.cli import main
from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import best_methods, printed
from lamella.report.document import document_text
from lamella.results.files import read_results


@pytest.fixture(scope="module")
def written(results_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document of the evaluation of a phantom."""
    out = tmp_path_factory.mktemp("document") / "results.md"
    assert main(["report", str(results_folder), str(out), "--quiet"]) == 0
    return out


def test_every_number_of_the_short_table_is_that_of_the_results(written: Path, results_folder: Path) -> None:
    text, found = written.read_text(encoding="utf-8"), read_results(results_folder)[1]
    for case in found.cases:
        section = text[text.index(f"## {case.title}") :]
        for method, row in case.figures.items():
            line = next(one for one in section.splitlines() if one.startswith(f"| {found.label(method)} |"))
            assert printed("rmse_body_hu", row["rmse_body_hu"]) in line


def test_every_figure_is_explained(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert [name for name, figure in FIGURES.items() if figure.about not in text] == []


def test_pictures_lie_beside_the_document_and_none_is_dead(written: Path) -> None:
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", written.read_text(encoding="utf-8"))
    assert "results/gains.png" in links
    assert any(link.endswith("-view.png") for link in links)
    for link in links:
        with Image.open(written.parent / link) as picture:
            assert min(picture.size) > 100


def test_no_picture_shows_a_person(results_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lamella.report import document

    folder, found = read_results(results_folder)
    people = replace(found, cases=tuple(replace(case, person=True) for case in found.cases))
    monkeypatch.setattr(document, "read_results", lambda path: (folder, people))
    document.write_document(results_folder, tmp_path / "people.md", overwrite=False)
    assert "-view" not in (tmp_path / "people.md").read_text(encoding="utf-8")
    assert list((tmp_path / "people").glob("*-view.png")) == []
    assert "2 scans of persons" in document_text(people, {})


@pytest.mark.slow
def test_an_existing_document_is_kept(written: Path, results_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(results_folder), str(written)]) == 2
    assert "OUTPUT exists" in capsys.readouterr().err
    assert main(["report", str(results_folder), str(written), "--overwrite", "--quiet"]) == 0


def test_a_name_that_is_neither_page_nor_document_is_refused(
    results_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(results_folder), str(tmp_path / "x.pdf")]) == 2
    assert "OUT must end in .html or .md" in capsys.readouterr().err
    assert main(["report", str(tmp_path), str(tmp_path / "x.md")]) == 2
    assert "There is no results.json" in capsys.readouterr().err


def test_the_best_is_judged_as_printed() -> None:
    assert printed("best_shift_mm", -0.001) == "0.00"
    rows = {"a": {"best_shift_mm": -0.001}, "b": {"best_shift_mm": 0.004}, "c": {"best_shift_mm": 0.5}}
    assert best_methods("best_shift_mm", rows) == {"a", "b"}


def test_no_table_is_torn(written: Path) -> None:
    lines = written.read_text(encoding="utf-8").splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("|---")]
    assert len(rules) > 5
    for number in rules:
        assert lines[number - 1].count("|") == lines[number].count("|"), lines[number - 1]
