"""Records of results.json for tests that need few of their fields."""

from __future__ import annotations

from lamella.results.schema import CaseRecord, Shifts, SliceCurves, Slices, Spectra, TruthFigures, VolumeFiles


def blank_record(name: str, slices: int = 10) -> CaseRecord:
    """A case without figures and curves."""
    return CaseRecord(
        id=name,
        title=name,
        kind="phantom",
        group=name,
        person=False,
        thick=Slices(2, 5.0, 5.0),
        thin=Slices(slices, 1.0, 1.0),
        pixel_mm=(1.0, 1.0),
        scored_slices=slices,
        scored_shape=(slices, 10, 10),
        profile="box",
        notes=(),
        regions={},
        truth=TruthFigures(),
        floor=None,
        figures={},
        intervals={},
        absent={},
        slices=SliceCurves((), (), {}, {}, {}, {}, (), ()),
        spectra=Spectra(),
        shifts=Shifts((), {}),
        coverage=None,
        spheres=None,
        volumes=VolumeFiles(),
    )
