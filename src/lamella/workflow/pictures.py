"""What a job draws of its answer, without thinning anything again: the preview and the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamella.files.atomic import staged_file
from lamella.metrics import aligned_cubic
from lamella.volume import Volume

if TYPE_CHECKING:
    from lamella.workflow.study import StudyResult


def draw(
    result: StudyResult, page: Path | None, preview: Path | None, truth: Volume | None = None, *, overwrite: bool
) -> None:
    """Write the pictures that are wanted.

    Args:
        result: the answer.
        page: thick, cubic, thin and spread side by side, and the report in words.
        preview: thick, cubic and thin side by side, and the truth where it is known.
        truth: measured thin slices in the same place.
        overwrite: replace earlier files.
    """
    source, grid, count = result.source, result.volume.geometry, len(result.samples)
    name = f"Lamella {result.report['settings']['mode']}" + (f" 1 of {count}" if count > 1 else "")
    cubic = Volume(aligned_cubic(source.hu, source.geometry.centres_mm, grid.centres_mm), grid)
    if page is not None:
        from lamella.report.study import render_study

        answers = [(name, result.volume), ("Cubic interpolation", cubic)]
        names = _names(result)
        render_study(page, source, answers, result.spread, result.report, names=names, overwrite=overwrite)
    if preview is not None:
        from lamella.report.preview import PreviewPanel, render_preview

        panels = [
            PreviewPanel("Thick, as measured", source, as_slices=True),
            PreviewPanel("Cubic interpolation", cubic),
            PreviewPanel(name, result.volume, accent=True),
            *([] if truth is None else [PreviewPanel("Truth", truth)]),
        ]
        with staged_file(preview, overwrite=overwrite) as file:
            render_preview(file, panels, title=f"model {result.report['model']['name']}")


def _names(result: StudyResult) -> tuple[str, str]:
    """What people call the source and the result; empty where they are not DICOM."""
    from lamella.dicom.header import SeriesHeader
    from lamella.dicom.words import series_name

    header = result.source.header
    if not isinstance(header, SeriesHeader):
        return "", ""
    return series_name(header.slices[0]), series_name(header.slices[0], result.derivations[0])
