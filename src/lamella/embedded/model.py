"""The embedded model's answer for one volume: mean and scale in one pass, then samples of what they leave open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.embedded.memory_plan import MemoryPlan, memory_plan
from lamella.embedded.noise_level import (
    NO_SOFT_TISSUE,
    NoiseFit,
    fit_noise,
    level_noise,
    limit_scale,
    scale_to_noise,
    temper_structure,
    typical_scale,
)
from lamella.embedded.noise_texture import NO_NOISE_TEXTURE, NoiseTexture, match_noise_texture, measure_noise_texture
from lamella.embedded.predict import Advance, Job, Prediction, predict, prepare
from lamella.embedded.sampling import position_noise, sample_residual
from lamella.embedded.scan_noise import ScanNoise, measure_noise
from lamella.embedded.weights import EmbeddedWeights
from lamella.errors import UsageError
from lamella.machine.runtime import runtime
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import covering_grid
from lamella.thinning.consistency import to_stored_hu
from lamella.thinning.model import Provenance
from lamella.thinning.result import Progress, Stopwatch, Thinned
from lamella.thinning.settings import Mode, ThinSettings
from lamella.volume import Geometry, Volume

STEPS = 4
"""Of the sampler, where none are asked for."""


@dataclass(frozen=True, eq=False)
class EmbeddedModel(EmbeddedWeights):
    """The embedded model as a `ThinModel`."""

    modes: ClassVar[tuple[Mode, ...]] = ("mean", "texture", "sample")
    sampled_modes: ClassVar[tuple[Mode, ...]] = ("texture", "sample")

    def defaults(self, settings: ThinSettings) -> ThinSettings:
        """The settings with the model's own numbers.

        Raises:
            UsageError: several means, a sampler by name, or an answer without the measurement.
        """
        if settings.samples is not None and settings.samples > 1 and settings.mode == "mean":
            raise UsageError(
                f"There is only one mean. Found {settings.samples} samples, which need mode texture or sample."
            )
        if settings.sampler is not None:
            raise UsageError(
                f"The sampler is a choice for latent diffusion models; the embedded model has one of its own. Found sampler "
                f"{settings.sampler}. Leave it out, or choose such a model."
            )
        if not settings.project:
            raise UsageError(
                "The embedded model cannot thin without the projection onto the measurement. Leave out project."
            )
        spread = True if settings.spread is None else settings.spread
        return replace(settings, steps=settings.steps or STEPS, samples=settings.samples or 1, spread=spread)

    def plan(
        self, thick: Geometry, grid: Geometry, settings: ThinSettings, smaller_than: MemoryPlan | None = None
    ) -> MemoryPlan:
        """The largest blocks that fit; see `ThinModel.plan`."""
        return memory_plan(thick, grid, self, self.defaults(settings), smaller_than)

    def provenance(self, settings: ThinSettings, sample: int = 0) -> Provenance:
        """See `ThinModel.provenance`; the mean depends on nothing but the weights and their card."""
        steps = f"{settings.steps} step{'s' * (settings.steps != 1)}"
        draw_of = f"{steps}, seed {settings.seed}, sample {sample + 1} of {settings.samples}"
        if settings.mode not in self.sampled_modes:
            draw_of = ""
        return Provenance(self.name, self.sha256, self.licence, draw_of, f"{self.settings} {self.calibration}")

    def thin(
        self, volume: Volume, grid: Geometry, settings: ThinSettings, plan: MemoryPlan, progress: Progress
    ) -> Thinned:
        """See `ThinModel.thin`."""
        longer, wanted = covering_grid(grid, volume.geometry)
        grids, where = GridPair.between(longer, volume.geometry), runtime(settings.device, settings.precision)
        work = _Work(Job(self, grids, plan, where), volume, settings, Stopwatch(), progress)
        prediction = work.predict()
        with work.stopwatch.stage("noise"):
            noise, fit, texture, warnings = work.measure_noise(prediction)
        spread = None
        if settings.spread:
            spread = Volume(work.image(_spread(prediction.log_scale, fit))[wanted].numpy(), grid)
        if fit is not None and settings.mode != "mean":
            scale_to_noise(prediction.log_scale, fit, sampled=True)
        samples = []
        answers = _answers(work, prediction, noise, texture)
        del prediction  # the largest thing in memory: released with the last answer, before that is made consistent
        for image in answers:
            with work.stopwatch.stage("consistency"):
                samples.append(Volume(to_stored_hu(image, work.thick, grids)[wanted], grid))
        report = {**where.report, **work.stopwatch.report, **grids.report, "warnings": warnings}
        return Thinned(samples[0], tuple(samples), spread, report)


@dataclass(frozen=True, eq=False)
class _Work:
    """One volume to thin: the computation, the settings, and where progress goes."""

    job: Job
    volume: Volume
    settings: ThinSettings
    stopwatch: Stopwatch
    progress: Progress

    @property
    def thick(self) -> Tensor:
        """(K, y, x) HU."""
        return torch.from_numpy(self.volume.hu.astype(np.float32))

    def predict(self) -> Prediction:
        """Mean and scale."""
        job, weights, sampled = self.job, self.job.weights, self.settings.mode != "mean"
        for network in (weights.mean, weights.flow) if sampled else (weights.mean,):
            prepare(network, job.runtime)
        with self.stopwatch.stage("mean"):
            thick = _pad(self.thick, weights.pixel_step)
            prediction = predict(job, thick, summarised=sampled, advance=self._advance("mean"))
            limit_scale(prediction.log_scale, weights.calibration.scale_limit_hu)
        return prediction

    def measure_noise(
        self, prediction: Prediction
    ) -> tuple[ScanNoise | None, NoiseFit | None, NoiseTexture | None, list[str]]:
        """The scan's noise, how the prediction fits it, its spectrum if one is needed, and what could not be measured."""
        noise = measure_noise(self.volume, self.job.grids)
        if noise is None:
            return None, None, None, [NO_SOFT_TISSUE]
        fit = fit_noise(prediction, noise, self.job.weights.calibration)
        if self.settings.mode == "mean":
            return noise, fit, None, []
        texture = measure_noise_texture(self.volume, noise)
        return noise, fit, texture, [] if texture is not None else [NO_NOISE_TEXTURE]

    def sample(self, prediction: Prediction, index: int) -> Tensor:
        """One sample of the residual, (n, D, y', x') HU."""
        codec, count = self.job.codec, self.settings.sample_count
        depth, rows, columns = prediction.mean.shape[1:]
        white = position_noise((depth, rows * codec.side, columns * codec.side), codec, self.settings.seed, index)
        advance = self._advance("flow" if count == 1 else f"flow {index + 1} of {count}")
        return sample_residual(self.job, prediction, white, self.settings.step_count, advance)

    def image(self, packed: Tensor) -> Tensor:
        """(n, D, y', x') -> (D, y, x) without the padding."""
        rows, columns = self.volume.geometry.shape[1:]
        return self.job.codec.decode(packed[None])[0, 0][:, :rows, :columns]

    def _advance(self, stage: str) -> Advance:
        self.progress(stage, 0.0)
        return lambda fraction: self.progress(stage, fraction)


def _answers(
    work: _Work, prediction: Prediction, noise: ScanNoise | None, texture: NoiseTexture | None
) -> Iterator[Tensor]:
    """The mean, or one sample after the other, as (D, y, x) HU."""
    if work.settings.mode == "mean":
        image = work.image(prediction.mean)
        del prediction
        yield image
        return
    figures = work.job.weights.calibration
    with work.stopwatch.stage("noise"):
        level_hu = typical_scale(prediction.log_scale) if noise is None else level_noise(prediction, noise, figures)
    temperature = figures.sample_temperature if work.settings.mode == "sample" else 0.0
    temper_structure(prediction.log_scale, level_hu, temperature)
    for index in range(work.settings.sample_count):
        with work.stopwatch.stage("flow"):
            residual = work.sample(prediction, index)
            if texture is not None:
                match_noise_texture(residual, prediction, level_hu, texture)
            image = work.image(residual.add_(prediction.mean))
        del residual  # as large as the image, and not needed beside it
        if index == work.settings.sample_count - 1:
            del prediction
        yield image


def _spread(log_scale: Tensor, fit: NoiseFit | None) -> Tensor:
    """Standard deviation of the error in HU; the scale that samples start from is left as it is."""
    spread = log_scale.to(torch.float32, copy=True)
    if fit is not None:
        scale_to_noise(spread, fit, sampled=False)
    return spread.exp_()


def _pad(thick: Tensor, multiple: int) -> Tensor:
    """Repeat the last rows and columns until both counts are multiples of `multiple`."""
    y, x = thick.shape[1:]
    return F.pad(thick[None], (0, -x % multiple, 0, -y % multiple), mode="replicate")[0]
