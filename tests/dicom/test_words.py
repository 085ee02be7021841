"""How people tell series apart: words of the field pass, names of patients do not."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from tests.planted import Planted

from lamella.dicom.words import series_name, series_words


@pytest.mark.parametrize(
    ("description", "kernel", "words"),
    [
        ("Thorax 5.0 Br40d", "Br40d", "Thorax 5.0 Br40d"),
        ("ABDOMEN_PELVIS (venous) 3,0mm", "FC08", "ABDOMEN PELVIS venous 3,0mm FC08"),
        ("Mustermann^Erika chest 1960-01-31 12345678", "STANDARD", "chest STANDARD"),
        ("Hand Lung", "", "Hand Lung"),
        ("", "", ""),
    ],
)
def test_words(description: str, kernel: str, words: str) -> None:
    header = Dataset()
    header.SeriesDescription, header.ConvolutionKernel = description, kernel
    assert series_words(header) == words


def test_nothing_planted_passes() -> None:
    planted = Planted()
    header = planted.template(whole=True)
    header.SeriesNumber = 7
    assert series_name(header) == "Series 7"
    assert series_name(Dataset()) == ""
