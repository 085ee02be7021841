"""What a job draws: the preview (thick, cubic, and two of Lamella's answers) and the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.cli.progress import Progress

if TYPE_CHECKING:
    from lamella.latent_model import LatentModel
    from lamella.model import Model
    from lamella.thinning import Thinned, ThinSettings
    from lamella.volume import Volume


PAGE = ".html"
"""A report of this suffix is a page to look at, any other is JSON."""


def companion(settings: ThinSettings, kind: str) -> ThinSettings:
    """What the preview shows beside the answer: the mean beside a draw; beside the mean a texture, or a sample."""
    other = _drawn_mode(kind) if settings.mode == "mean" else "mean"
    samples = None if other == "mean" else 1
    return dataclasses.replace(settings, mode=other, samples=samples, spread=False)  # type: ignore[arg-type]  # both are modes


def _drawn_mode(kind: str) -> str:
    """The draw that stands beside the mean of a kind of model."""
    from lamella.model import LATENT

    return "sample" if kind == LATENT else "texture"


def draw(
    path: Path,
    source: Volume,
    thinned: Thinned,
    model: Model | LatentModel,
    settings: ThinSettings,
    progress: Progress,
    *,
    overwrite: bool,
) -> None:
    """Thin once more in the companion mode and write the picture."""
    from lamella.metrics import aligned_cubic
    from lamella.publish import staged_file
    from lamella.report.preview import PreviewPanel, render_preview
    from lamella.thinning import thin
    from lamella.volume import Volume

    grid = thinned.volume.geometry
    other = thin(
        source,
        model,
        grid,
        companion(settings, model.kind),
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
            f"Lamella {_drawn_mode(model.kind) if settings.mode == 'mean' else settings.mode}", drawn, accent=True
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
