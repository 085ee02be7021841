"""What a job draws: the preview (thick, cubic, and two of Lamella's answers) and the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.workflow.progress import Progress

if TYPE_CHECKING:
    from lamella.thinning.model import ThinModel
    from lamella.thinning.result import Thinned
    from lamella.thinning.settings import Mode, ThinSettings
    from lamella.volume import Volume


PAGE = ".html"
"""A report of this suffix is a page to look at, any other is JSON."""


def companion(settings: ThinSettings, model: ThinModel) -> ThinSettings:
    """What the preview shows beside the answer: the mean beside a draw; beside the mean a texture, or a sample."""
    other = sampled_beside(model) if settings.mode == "mean" else "mean"
    samples = None if other == "mean" else 1
    return dataclasses.replace(settings, mode=other, samples=samples, spread=False)


def sampled_beside(model: ThinModel) -> Mode:
    """The sampled mode that stands beside a model's mean."""
    return "texture" if "texture" in model.modes else "sample"


def draw(
    path: Path,
    source: Volume,
    thinned: Thinned,
    model: ThinModel,
    settings: ThinSettings,
    progress: Progress,
    *,
    overwrite: bool,
) -> None:
    """Thin once more in the companion mode and write the picture."""
    from lamella.files.atomic import staged_file
    from lamella.metrics import aligned_cubic
    from lamella.report.preview import PreviewPanel, render_preview
    from lamella.thinning.thin import thin
    from lamella.volume import Volume

    grid = thinned.volume.geometry
    other = thin(
        source,
        model,
        grid,
        companion(settings, model),
        lambda stage, done: progress.update(f"preview, {stage}", done),
    ).volume
    progress.begin("preview, drawing")
    mean, drawn = (thinned.volume, other) if settings.mode == "mean" else (other, thinned.volume)
    cubic = aligned_cubic(source.hu, source.geometry.centres_mm, grid.centres_mm)
    panels = [
        PreviewPanel("Thick, as measured", source, as_slices=True),
        PreviewPanel("Cubic interpolation", Volume(cubic, grid)),
        PreviewPanel("Lamella mean", mean, accent=True),
        PreviewPanel(
            f"Lamella {sampled_beside(model) if settings.mode == 'mean' else settings.mode}", drawn, accent=True
        ),
    ]
    with staged_file(path, overwrite=overwrite) as file:
        render_preview(file, panels, title=f"model {model.name}")
    progress.finish()


def draw_page(
    path: Path,
    source: Volume,
    thinned: Thinned,
    mode: str,
    report: dict[str, Any],
    progress: Progress,
    *,
    overwrite: bool,
) -> None:
    """Write the page of one study: thick, cubic and thin side by side, the spread, and the report in words."""
    from lamella.metrics import aligned_cubic
    from lamella.report.study import render_study
    from lamella.volume import Volume

    progress.begin("page")
    grid = thinned.volume.geometry
    cubic = aligned_cubic(source.hu, source.geometry.centres_mm, grid.centres_mm)
    drawn = [(f"Lamella {mode}", thinned.volume), ("Cubic interpolation", Volume(cubic, grid))]
    render_study(path, source, drawn, thinned.spread, report, overwrite=overwrite)
    progress.finish()
