"""A latent diffusion model's answer for one volume.

Thick slices -> condition on the thin latents' grid -> noise seeded by position -> DDIM or DDPM -> decode -> what the codec
cannot hold, restored -> projected onto the measurement -> whole HU. The depth follows from positions: the codec pads to whole
latent cells at the end and the answer is cropped to the slices asked for, for every depth, tiled or not.

Where the denoising network does not see a whole plane at once, every step averages the answers of overlapping tiles with
smooth weights, so that the tiles are one sample and no seam can form (MultiDiffusion, Bar-Tal et al., arXiv 2302.08113).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lamella.codecs.kl import KlCodec
from lamella.codecs.tiles import run_tiled, spans
from lamella.diffusion import ddim, ddpm
from lamella.errors import NonFiniteError, UsageError
from lamella.latent_diffusion.condition import condition_latents, denoiser, first_state
from lamella.latent_diffusion.memory_plan import HALO_CELLS, LatentPlan, latent_plan
from lamella.latent_diffusion.weights import LatentWeights
from lamella.machine.runtime import GIB, Runtime, runtime
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import along_z, covering_grid, cubic_matrix
from lamella.thinning.consistency import to_stored_hu
from lamella.thinning.model import Provenance
from lamella.thinning.result import Progress, Stopwatch, Thinned
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.slice_noise import slice_generator
from lamella.volume import Geometry, Volume, round_hu

STEPS = 20
"""Of the sampler, where none are asked for."""

DRAWS = 4
"""Draws of a mean where no number is asked for."""


@dataclass(frozen=True, eq=False)
class LatentModel(LatentWeights):
    """A latent diffusion model as a `ThinModel`: mode sample is one draw, mode mean the average of several."""

    modes: ClassVar[tuple[Mode, ...]] = ("mean", "sample")
    sampled_modes: ClassVar[tuple[Mode, ...]] = ("mean", "sample")

    def defaults(self, settings: ThinSettings) -> ThinSettings:
        """The settings with the model's own numbers.

        Raises:
            UsageError: mode texture, a spread from a single draw, or a head that these steps cannot sample.
        """
        if settings.mode == "texture":
            raise UsageError(
                "Mode texture is not defined for a latent diffusion model: it does not tell the scan's own noise from "
                "structure. Use mode sample (one draw) or mean (the average of several)."
            )
        samples = settings.samples or (DRAWS if settings.mode == "mean" else 1)
        if settings.spread and samples < 2:
            raise UsageError(
                f"The spread is the standard deviation of a latent diffusion model's draws, so it needs several. Found "
                f"{samples}. Ask for 2 samples or more."
            )
        spread = samples > 1 if settings.spread is None else settings.spread
        sampler, steps = settings.sampler or "ddim", settings.steps or STEPS
        self.settings.require_samplable(steps)
        return replace(settings, steps=steps, sampler=sampler, samples=samples, spread=spread)

    def plan(
        self, thick: Geometry, grid: Geometry, settings: ThinSettings, smaller_than: LatentPlan | None = None
    ) -> LatentPlan:
        """The largest tiles that fit; see `ThinModel.plan`."""
        if smaller_than is not None:
            settings = replace(settings, memory_gb=(smaller_than.peak_bytes - 1) / GIB)
        return latent_plan(thick, grid, self, self.defaults(settings))

    def provenance(self, settings: ThinSettings, sample: int = 0) -> Provenance:
        """See `ThinModel.provenance`."""
        which = f"sample {sample + 1} of {settings.samples}"
        if settings.mode == "mean":
            which = f"average of {settings.samples} draws"
        draw = f"{settings.sampler}, {settings.steps} step{'s' * (settings.steps != 1)}, seed {settings.seed}, {which}"
        return Provenance(self.name, self.sha256, self.licence, draw, f"{self.settings} {self.codec.settings}")

    def thin(
        self, volume: Volume, grid: Geometry, settings: ThinSettings, plan: LatentPlan, progress: Progress
    ) -> Thinned:
        """See `ThinModel.thin`."""
        longer, wanted = covering_grid(grid, volume.geometry)
        where, stopwatch = runtime(settings.device, settings.precision), Stopwatch()
        task = _Task(volume, self, longer, GridPair.between(longer, volume.geometry), settings, plan, where)
        draws, spread = [], None
        running = _Running()
        for image in _draws(task, stopwatch, progress):
            with stopwatch.stage("consistency"):
                if settings.mode == "mean" or settings.spread:
                    running.add(image)
                if settings.mode == "sample":
                    draws.append(task.whole(image)[wanted])
        with stopwatch.stage("consistency"):
            if settings.mode == "mean":
                draws.append(task.whole(running.mean)[wanted])
            if settings.spread:
                spread = Volume(running.deviation()[wanted].numpy(), grid)
        samples = tuple(Volume(hu, grid) for hu in draws)
        codec = dataclasses.asdict(task.codec.settings)
        report: dict[str, Any] = {
            **where.report,
            **stopwatch.report,
            **task.grids.report,
            "codec": {name: codec[name] for name in ("low_hu", "high_hu", "axes", "tile")}
            | {"side_information": task.codec.settings.network.side_information},
            "scale": task.codec.settings.scale,
            "condition": self.settings.condition,
            "sampler": settings.sampler,
            "steps": settings.step_count,
            "draws": settings.sample_count,
            "projected": settings.project,
            "warnings": [],
        }
        return Thinned(samples[0], samples, spread, report)


@dataclass(frozen=True, eq=False)
class _Task:
    """One volume to thin: what every draw shares."""

    volume: Volume
    model: LatentWeights
    longer: Geometry
    grids: GridPair
    settings: ThinSettings
    pieces: LatentPlan
    where: Runtime

    @property
    def codec(self) -> KlCodec:
        """The codec, with the plan's tiles."""
        return self.model.codec.with_settings(tile=self.pieces.codec_tile)

    @property
    def thick(self) -> Tensor:
        """(K, y, x) HU."""
        return torch.from_numpy(self.volume.hu.astype(np.float32))

    def condition(self) -> Tensor:
        """(1, c, z', y', x')."""
        at = (torch.from_numpy(g.centres_mm.copy())[None] for g in (self.volume.geometry, self.longer))
        thick_mm, thin_mm = at
        return condition_latents(self.codec, self.thick[None, None], thick_mm, thin_mm, self.model.settings.condition)

    def image(self, latent: Tensor) -> Tensor:
        """(1, c, z', y', x') -> (D, y, x) HU: decoded, the whole range restored, consistent if asked for."""
        settings, thick = self.codec.settings, self.thick
        cubic = along_z(cubic_matrix(self.volume.geometry.centres_mm, self.longer.centres_mm), thick)
        image = self.codec.decode(latent, self.longer.shape, cubic[None, None])[0, 0]
        if not bool(image.isfinite().all()):
            raise NonFiniteError(
                "The decoded volume holds NaN or infinity, though every sampling step was finite. Check the codec with "
                "`lamella models verify`."
            )
        beyond = (cubic < settings.low_hu) | (cubic > settings.high_hu)  # dense bone, metal, air: never clipped away
        image = torch.where(beyond, cubic, image)
        del cubic, beyond
        return self.grids.operator.project(image, thick) if self.settings.project else image

    def whole(self, image: Tensor) -> np.ndarray:
        """Whole HU, consistent with the measurement unless a study does not want that."""
        return to_stored_hu(image, self.thick, self.grids) if self.settings.project else round_hu(image.numpy())


class _Running:
    """Mean and deviation of draws as they come (Welford)."""

    def __init__(self) -> None:
        self._count = 0
        self.mean, self._squares = torch.zeros(1), torch.zeros(1)

    def add(self, image: Tensor) -> None:
        """Count a draw in."""
        self._count += 1
        away = image - self.mean
        self.mean = self.mean + away / self._count
        self._squares = self._squares + away * (image - self.mean)

    def deviation(self) -> Tensor:
        """Standard deviation over the draws."""
        return (self._squares / (self._count - 1)).sqrt()


def _draws(task: _Task, stopwatch: Stopwatch, progress: Progress) -> Iterator[Tensor]:
    """One decoded draw after the other, (D, y, x) HU."""
    task.model.codec.to(task.where.device)
    task.model.unet.to(task.where.device)
    progress("encode", 0.0)
    with stopwatch.stage("encode"):
        condition = task.condition()
    progress("encode", 1.0)
    asked = denoiser(_network(task), task.model.settings)
    steps, count = task.settings.step_count, task.settings.sample_count
    for sample in range(count):
        name = "sample" if count == 1 else f"sample {sample + 1} of {count}"
        with stopwatch.stage("sample"):
            noise = partial(latent_noise, condition, task.settings.seed, sample)
            state = first_state(asked, condition, noise(0), steps)
            on_step = partial(_tell, progress, name, steps)
            if task.settings.sampler == "ddpm":
                latent = ddpm(asked, state, condition, steps, noise, on_step=on_step)
            else:
                latent = ddim(asked, state, condition, steps, on_step=on_step)
        progress("decode", 0.0)
        with stopwatch.stage("decode"):
            image = task.image(latent)
        progress("decode", 1.0)
        yield image


def _tell(progress: Progress, name: str, steps: int, done: int, _: Tensor) -> None:
    progress(name, done / steps)


def latent_noise(like: Tensor, seed: int, sample: int, step: int = 0) -> Tensor:
    """White noise shaped as a latent (1, c, z', y', x'); every latent slice has a seed of its own, as in `draw`.

    Args:
        like: gives the shape.
        seed: of the run.
        sample: number of the draw.
        step: of the sampler, from 1, that the noise is added in; 0 for the state it begins with.
    """
    noise = torch.empty(like.shape)
    for index in range(like.shape[2]):
        noise[:, :, index] = torch.randn(noise[:, :, index].shape, generator=slice_generator(seed, sample, index, step))
    return noise


def _network(task: _Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The raw denoising network over the whole latent volume, which stays in main memory; float32 in and out."""
    unet, where, tile = task.model.unet, task.where, task.pieces.unet_tile

    def network(block: Tensor, t: Tensor) -> Tensor:
        given, times = block.to(where.device), t.to(where.device)
        with torch.autocast(where.device.type, dtype=torch.bfloat16, enabled=where.bf16):
            raw: Tensor = unet(given, times)
        return raw.float().to(block.device)

    if tile is None:
        return network

    def tiled(block: Tensor, t: Tensor) -> Tensor:
        depth, rows, columns = block.shape[2:]
        whole = spans(depth, depth, 0, 0)
        y, x = (spans(n, tile, HALO_CELLS, max(1, tile // 8)) for n in (rows, columns))
        channels = task.codec.channels
        return run_tiled(
            block, lambda part: network(part, t), (whole, y, x), channels=channels, scale_in=1, scale_out=1
        )

    return tiled
