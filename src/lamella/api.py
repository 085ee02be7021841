"""Lamella from Python: `lamella.thin(lamella.read_series("study/"), spacing_mm=1.0)`."""

from __future__ import annotations

from pathlib import Path

from lamella.models.registry import load_model
from lamella.sources.source import read_source
from lamella.thinning.grid import thin_grid
from lamella.thinning.result import Thinned
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin as thin_volume
from lamella.volume import Volume


def read_series(source: str | Path, series_uid: str | None = None) -> Volume:
    """Read one series: a DICOM folder or ZIP, an enhanced multi-frame file, or NIfTI.

    Args:
        source: where it is.
        series_uid: which series, where there are several.

    Raises:
        RefusedInput: the series cannot be treated rightly; the message says why.
    """
    return read_source(Path(source), series_uid)


def thin(
    volume: Volume,
    *,
    spacing_mm: float | None = None,
    slices: int | None = None,
    like: Volume | None = None,
    mode: Mode = "mean",
    model: str | Path = "embedded",
    steps: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    spread: bool = False,
    device: str = "auto",
) -> Thinned:
    """Thin a volume; 1 mm slices if nothing else is asked for.

    Args:
        volume: thick slices.
        spacing_mm: between thin slices.
        slices: their number instead.
        like: a series of the same scan whose slice positions are wanted instead.
        mode: "mean", "texture" or "sample".
        model: name of a shipped model, or a model folder.
        steps: of a draw; None for the model's own number, 4 or (latent diffusion) 20.
        samples: draws of texture or sample, or in a latent diffusion model's mean; None for the model's own number.
        seed: of the draws.
        spread: also return the predicted standard deviation.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        LamellaError: one of its children; see `lamella.errors`.
    """
    if spacing_mm is None and slices is None and like is None:
        spacing_mm = 1.0
    grid = thin_grid(volume.geometry, spacing_mm=spacing_mm, slices=slices, like=like.geometry if like else None)
    settings = ThinSettings(mode=mode, steps=steps, samples=samples, seed=seed, spread=spread, device=device)
    return thin_volume(volume, load_model(model), grid, settings)
