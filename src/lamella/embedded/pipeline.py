"""The embedded model's answer for one volume, and what every answer shares: clock and heading of the report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import lamella
from lamella.latent_model import LatentModel
from lamella.model import Model
from lamella.passage import Passage
from lamella.slices import covering_grid
from lamella.thinning.draw import draw, position_noise
from lamella.thinning.finish import consistency, finish, misfit_warnings
from lamella.thinning.grain import NO_GRAIN, Grain, match_grain, measure_grain
from lamella.thinning.look import View, look, prepare
from lamella.thinning.noise import (
    NO_SOFT_TISSUE,
    NoiseFit,
    calm_structure,
    cap_structure,
    fit_noise,
    level_noise,
    limit_scale,
    scale_to_noise,
    typical_scale,
)
from lamella.thinning.plan import MemoryPlan, Runtime, pixel_step, plan, runtime
from lamella.thinning.range import range_warnings
from lamella.thinning.scan_noise import ScanNoise, measure_noise
from lamella.thinning.settings import ThinSettings
from lamella.thinning.shrink import shrink_correction
from lamella.volume import Geometry, Volume

Progress = Callable[[str, float], None]
"""Called with a stage's name and the fraction of it that is done."""


@dataclass(frozen=True, eq=False)
class Thinned:
    """The result.

    Attributes:
        volume: int16 HU on the thin grid.
        samples: every draw, the first being `volume`; one volume in mode mean.
        spread: predicted standard deviation of the mean's error in float32 HU, if asked for.
        report: what was done, with which model, how long it took and how consistent the written integers are.
    """

    volume: Volume
    samples: tuple[Volume, ...]
    spread: Volume | None
    report: dict[str, Any]


class Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def silent(stage: str, fraction: float) -> None:
    """No progress wanted."""


def thin(
    volume: Volume,
    model: Model,
    grid: Geometry,
    settings: ThinSettings | None = None,
    progress: Progress = silent,
) -> Thinned:
    """Thin a volume.

    Args:
        volume: thick slices.
        model: the embedded model.
        grid: thin slices wanted (`thin_grid`).
        settings: mode, steps, seed, device.
        progress: told how far each stage is.

    Raises:
        RefusedInput: too large for the memory, or far outside what the model was trained for.
        NonFiniteError: a value that is not finite, with the step it appeared in.
    """
    settings = (settings or ThinSettings()).resolved(model.kind)
    warnings = range_warnings(volume.geometry, grid, model.limits)
    where, pieces, clock = runtime(settings), plan(volume.geometry, grid, model, settings), Clock()
    longer, wanted = covering_grid(grid, volume.geometry)
    passage = Passage.between(longer, volume.geometry)
    thick = torch.from_numpy(volume.hu.astype(np.float32))
    padded = _pad(thick, pixel_step(model))
    flow = model.flow if settings.mode != "mean" else None
    for network in filter(None, (model.mean, flow)):
        prepare(network, where)
    with clock.stage("mean"):
        view = look(model.mean, padded, passage, pieces, where, flow=flow, advance=lambda f: progress("mean", f))
        limit_scale(view.log_scale, model.calibration.scale_limit_hu)
        if settings.mode == "mean":  # the flow draws what the whole correction leaves
            packed = model.mean.codec.encode(padded[None, None])[0]
            shrink_correction(view, packed, passage, model.calibration.correction_doubt)
    del padded
    with clock.stage("noise"):
        noise = measure_noise(volume, passage)
        fit = None if noise is None else fit_noise(view, noise, model.mean.codec, model.calibration.noise_share)
        grain = measure_grain(volume, noise, passage) if noise is not None and settings.mode != "mean" else None
    if noise is None:
        warnings.append(NO_SOFT_TISSUE)
    elif grain is None and settings.mode != "mean":
        warnings.append(NO_GRAIN)
    spread = None
    if settings.spread:
        sd = _image(_spread(view.log_scale, fit), model, thick)[wanted] * model.calibration.spread
        spread = Volume(sd.numpy(), grid)
    if fit is not None and settings.mode != "mean":
        scale_to_noise(view.log_scale, fit, drawn=True)
    draws = []
    answers = _answers(model, view, noise, grain, passage, settings, pieces, where, clock, progress, thick)
    del view  # the largest thing in memory: let go with the last answer, before that is finished
    for image in answers:
        with clock.stage("finish"):
            draws.append(finish(image, thick, passage)[wanted])
    samples = tuple(Volume(hu, grid) for hu in draws)
    asked = dataclasses.asdict(settings)
    del asked["project"]  # always so here
    kept = consistency(samples[0], volume)
    report = {
        **heading(model, asked, where, clock, passage),
        **kept,
        "warnings": [*warnings, *misfit_warnings(kept, passage.operator)],
    }
    return Thinned(samples[0], samples, spread, report)


def _answers(
    model: Model,
    view: View,
    noise: ScanNoise | None,
    grain: Grain | None,
    passage: Passage,
    settings: ThinSettings,
    pieces: MemoryPlan,
    where: Runtime,
    clock: Clock,
    progress: Progress,
    thick: Tensor,
) -> Iterator[Tensor]:
    """The mean, or one draw after the other, as (D, y, x) HU."""
    if settings.mode == "mean":
        image = _image(view.mean, model, thick)
        del view
        yield image
        return
    figures = model.calibration
    codec = model.mean.codec
    if noise is None:
        level_hu: Tensor | float = typical_scale(view.log_scale)
    else:
        with clock.stage("noise"):
            level_hu = level_noise(view, noise, passage, codec, figures.noise_share, figures.noise_gain)
    if settings.mode == "texture":
        cap_structure(view.log_scale, level_hu, figures.texture_cap)
    else:
        calm_structure(view.log_scale, level_hu, figures.sample_calm)
    side = model.settings.side
    shape = (view.mean.shape[1], view.mean.shape[2] * side, view.mean.shape[3] * side)
    for sample in range(settings.draw_count):
        name = "flow" if settings.draw_count == 1 else f"flow {sample + 1} of {settings.draw_count}"
        with clock.stage("flow"):
            residual = draw(
                model.flow,
                view,
                position_noise(shape, codec, settings.seed, sample),
                passage,
                settings.step_count,
                pieces,
                where,
                lambda f, name=name: progress(name, f),  # type: ignore[misc]  # binds this round's name
            )
            if grain is not None:
                match_grain(residual, view.log_scale, torch.as_tensor(level_hu), grain, passage, codec)
            image = _image(residual.add_(view.mean), model, thick)
        del residual  # as large as the image, and not needed beside it
        if sample == settings.draw_count - 1:
            del view
        yield image


def _spread(log_scale: Tensor, fit: NoiseFit | None) -> Tensor:
    """Standard deviation of the error in HU; the scale that draws start from is left as it is."""
    spread = log_scale.to(torch.float32, copy=True)
    if fit is not None:
        scale_to_noise(spread, fit, drawn=False)
    return spread.exp_()


def _pad(thick: Tensor, multiple: int) -> Tensor:
    """Repeat the last rows and columns until both counts are multiples of `multiple`."""
    y, x = thick.shape[1:]
    return F.pad(thick[None], (0, -x % multiple, 0, -y % multiple), mode="replicate")[0]


def _image(packed: Tensor, model: Model, thick: Tensor) -> Tensor:
    """(n, D, y', x') -> (D, y, x) without the padding."""
    image = model.mean.codec.decode(packed[None])[0, 0]
    return image[:, : thick.shape[1], : thick.shape[2]]


def heading(
    model: Model | LatentModel, asked: dict[str, Any], where: Runtime, clock: Clock, passage: Passage
) -> dict[str, Any]:
    """What the report of every kind of model begins with."""
    return {
        "lamella": lamella.__version__,
        "model": {"name": model.name, "sha256": model.sha256, "licence": model.licence},
        "settings": asked,
        "seed": asked["seed"],
        "device": str(where.device),
        "precision": "bf16" if where.bf16 else "fp32",
        "seconds": {k: round(v, 2) for k, v in clock.seconds.items()},
        "condition_number": round(passage.operator.condition, 2),
        "ridge": passage.operator.ridge,
    }
