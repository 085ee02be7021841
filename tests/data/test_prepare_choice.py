"""What a prepared case is made of: which series, which patient, and when it is made anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu
from tests.raw_studies import settings

from lamella.data.find_pair import PairSettings, crop_to_common, find_pair
from lamella.data.index import Index, SplitSettings
from lamella.data.jobs import find_jobs
from lamella.data.prepare import prepare
from lamella.data.prepare_settings import PrepareSettings, SeriesEntry
from lamella.dicom import read_series
from lamella.errors import RefusedInput, UsageError

pytestmark = pytest.mark.slow  # test_prepare has the usual way in seconds


def test_both_series_are_cropped_to_what_they_share(raw: Path) -> None:  # SPEC A3, B8
    thin, thick = read_series(raw / "study1" / "b"), read_series(raw / "study1" / "a")
    grid = thin.geometry
    part = type(thin)(thin.hu[3:17], grid.with_slices(14, 1.0, 3.0, 1.0), thin.header)
    cropped, kept = crop_to_common(part, thick)
    assert kept.geometry.shape[0] == 2
    assert np.allclose(kept.geometry.centres_mm, thick.geometry.centres_mm[1:3])
    assert np.allclose(cropped.geometry.centres_mm, grid.centres_mm[5:15])
    assert np.array_equal(cropped.hu, thin.hu[5:15])
    far = type(thin)(thin.hu[:6], grid.with_slices(6, 1.0, 0.0, 1.0), thin.header)
    with pytest.raises(RefusedInput, match="too little in common"):
        crop_to_common(far, thick)


def test_series_alike_are_not_guessed_at(tmp_path: Path) -> None:  # SPEC C6
    build_series(tmp_path / "thick", phantom_hu(4), series_uid="1.2.3.9")
    for number in (1, 2):
        build_series(tmp_path / str(number), phantom_hu(20), 1.0, 1.0, series_uid=f"1.2.3.{number}")
    with pytest.raises(RefusedInput, match=r"2 thin series alike: 1\.2\.3\.1, 1\.2\.3\.2"):
        find_pair(tmp_path, PairSettings())
    shutil.rmtree(tmp_path / "2")
    assert find_pair(tmp_path, PairSettings()).header.series_uid == "1.2.3.1"


def thick_slices(out: Path) -> dict[str, int]:
    """Slices of the thick series of every case, by category; 0 where it has none."""
    index = Index.load(out)
    cases = [index.open(one.case_id) for one in index.entries]
    return {case.category: 0 if case.thick is None else case.thick.shape[0] for case in cases}


def test_a_case_follows_what_it_is_made_of(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    """Another category, a thick series beside it, a file repaired: the case is made anew, and nothing else is."""
    data = tmp_path / "raw"
    shutil.copytree(raw / "study1", data / "study1")
    asked = PrepareSettings(
        str(data), str(tmp_path / "set"), series=(SeriesEntry("study1/b", category="x"),), workers=1
    )
    assert prepare(asked).made == 1
    assert thick_slices(tmp_path / "set") == {"x": 0}
    paired = replace(asked, series=(SeriesEntry("study1/b", thick="study1/a", category="y"),))
    assert prepare(paired).made == 1
    assert thick_slices(tmp_path / "set") == {"y": 4}
    assert prepare(paired).made == 0
    last = sorted((data / "study1" / "a").rglob("*.dcm"))[-1]
    last.unlink()
    assert prepare(paired).made == 1
    assert thick_slices(tmp_path / "set") == {"y": 3}


def test_a_series_entry_finds_its_pair_by_itself(raw: Path, tmp_path: Path) -> None:  # SPEC A1
    asked = PrepareSettings(
        str(raw), str(tmp_path / "set"), series=(SeriesEntry("APE/1.zip", category="x"),), workers=1
    )
    assert prepare(asked).rejected == ()
    assert thick_slices(tmp_path / "set") == {"x": 4}


def test_parts_beyond_a_series_are_rejected(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    entries = (SeriesEntry("study1/b", split="train", slices=(15, 40)), SeriesEntry("study2/b", split="validation"))
    found = prepare(PrepareSettings(str(raw), str(tmp_path / "set"), series=entries, workers=1))
    assert (found.cases, found.failed) == (1, ())
    assert "has 20 slices" in found.rejected[0][1]
    with pytest.raises(UsageError, match="slices must rise"):
        SeriesEntry("study1/b", split="train", slices=(4, 4))
    with pytest.raises(UsageError, match="no study1/c"):
        find_jobs(PrepareSettings(str(raw), "out", series=(SeriesEntry("study1/b", thick="study1/c"),)))


def test_the_config_says_a_thickness_that_headers_do_not(tmp_path: Path) -> None:  # SPEC A3, C6
    data, asked = tmp_path / "raw", PrepareSettings("", str(tmp_path / "set"), workers=1)
    silent = {"SliceThickness": None}
    build_series(data / "thin", phantom_hu(20), 1.0, 1.0, series_uid="1.2.3.1", tags=silent)
    build_series(data / "thick", phantom_hu(4), series_uid="1.2.3.2", tags=silent)
    entry = SeriesEntry("thin", "thick", thickness_mm=1.0, thick_thickness_mm=5.0)
    asked = replace(asked, data=str(data), series=(replace(entry, thickness_mm=None),))
    assert "thickness_mm in Python and configs" in prepare(asked).rejected[0][1]
    assert prepare(replace(asked, series=(entry,))).made == 1
    assert thick_slices(tmp_path / "set") == {"": 3}  # the first slab begins before the thin slices
    for name in ("1", "2"):
        build_series(data / "both" / name, phantom_hu(20), 1.0, 1.0, series_uid=f"1.2.3.{name}")
    both = replace(asked, series=(SeriesEntry("both", thickness_mm=1.0),))
    assert "thickness_mm 1 for several series" in prepare(both).rejected[0][1]


def test_a_strict_preparation_rejects_what_lacks_parts(tmp_path: Path) -> None:  # SPEC A3, C6
    lacking = {"NumberOfSeriesRelatedInstances": 99}
    for folder in ("alone", "both/thin"):
        build_series(tmp_path / folder, phantom_hu(20), 1.0, 1.0, series_uid="1.2.3.1", tags=lacking)
    build_series(tmp_path / "both/thick", phantom_hu(4), series_uid="1.2.3.2")
    entries = (SeriesEntry("alone"), SeriesEntry("both"))
    asked = PrepareSettings(str(tmp_path), str(tmp_path / "set"), series=entries, workers=1)
    assert prepare(asked).rejected == ()
    rejected = prepare(replace(asked, strict=True)).rejected
    assert len(rejected) == 2
    assert all("says 99" in why for _, why in rejected)


def test_a_patient_stays_in_one_split(raw: Path, tmp_path: Path) -> None:  # SPEC A2
    """A part of one scan and the whole of another of the same patient must not be learnt from and judged by."""
    data = tmp_path / "raw"
    for number, name in ((1, "first"), (2, "second")):
        build_series(data / name, phantom_hu(20), 1.0, 1.0, series_uid=f"1.2.3.{number}")
    entries = (SeriesEntry("first", split="train", slices=(0, 12)), SeriesEntry("second", split="validation"))
    with pytest.raises(UsageError, match="asked into train and validation"):
        prepare(PrepareSettings(str(data), str(tmp_path / "set"), series=entries, workers=1))


def test_a_frozen_split_is_not_drawn_by_other_shares(raw: Path, done: Path) -> None:  # SPEC A2
    with pytest.raises(UsageError, match=r"remove split\.json"):
        prepare(replace(settings(raw, done), split=SplitSettings(train=0.5, validation=0.3)))


def test_projections_and_made_up_slices_are_no_measurement(tmp_path: Path) -> None:  # SPEC A1
    """Beside the thick series a reformation in another plane, one of maxima, and a thin series that a model made."""
    build_series(tmp_path / "thick", phantom_hu(6), series_uid="1.2.3.9")
    build_series(tmp_path / "thin", phantom_hu(30), 1.0, 1.0, series_uid="1.2.3.1")
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    build_series(tmp_path / "coronal", phantom_hu(20), orientation=coronal, series_uid="1.2.3.8")
    maxima = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]}
    build_series(tmp_path / "mip", phantom_hu(5), 6.0, 10.0, series_uid="1.2.3.7", tags=maxima)
    build_series(tmp_path / "made", phantom_hu(60), 0.5, 0.5, series_uid="1.2.3.6", tags={"SyntheticData": "YES"})
    # thinner than the wanted, and damaged: not needed, so it does not matter
    build_series(tmp_path / "damaged", phantom_hu(8), 3.0, 3.0, series_uid="1.2.3.5", tags={"PixelData": b"00"})
    found = find_pair(tmp_path, PairSettings())
    assert found.header.series_uid == "1.2.3.1"
    assert found.thick is not None
    assert found.thick.header.series_uid == "1.2.3.9"  # type: ignore[union-attr]  # read from DICOM
