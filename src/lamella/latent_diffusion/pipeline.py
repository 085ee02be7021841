"""A latent diffusion model's answer for one volume.

Thick slices -> condition on the thin latents' grid -> noise seeded by position -> DDIM -> decode -> what the codec cannot
hold, restored -> projected onto the measurement -> whole HU. The depth follows from positions: the codec pads to whole
latent cells at the end and the answer is cropped to the slices asked for, for every depth, tiled or not.

Where the denoising network does not see a whole plane at once, every step averages the answers of overlapping tiles with
smooth weights, so that the tiles are one sample and no seam can form (MultiDiffusion, Bar-Tal et al., arXiv 2302.08113).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lamella.diffusion import ddim
from lamella.errors import NonFiniteError
from lamella.latent.codec_kl import KlCodec
from lamella.latent.tiles import run_tiled, spans
from lamella.latent_diffusion import condition_latents, denoiser
from lamella.latent_model import LatentModel
from lamella.passage import Passage
from lamella.slices import along_z, covering_grid, cubic_matrix
from lamella.thinning.draw import slice_generator
from lamella.thinning.finish import consistency, finish, misfit_warnings, whole_hu
from lamella.thinning.latent_plan import HALO_CELLS, LatentPlan, latent_plan
from lamella.thinning.pipeline import Clock, Progress, Thinned, heading, silent
from lamella.thinning.plan import Runtime, runtime
from lamella.thinning.range import range_warnings
from lamella.thinning.settings import ThinSettings
from lamella.volume import Geometry, Volume


def thin_latent(
    volume: Volume,
    model: LatentModel,
    grid: Geometry,
    settings: ThinSettings | None = None,
    progress: Progress = silent,
) -> Thinned:
    """Thin a volume with a latent diffusion model; see `pipeline.thin`.

    Mode sample is one DDIM draw (eta 0), or several; mode mean is the average of `samples` draws.

    Raises:
        UsageError: mode texture, or a spread from a single draw.
        RefusedInput: too large for the memory, or far outside what the model was trained for.
        NonFiniteError: a value that is not finite, with the step it appeared in.
    """
    settings = (settings or ThinSettings()).resolved(model.kind)
    warnings = range_warnings(volume.geometry, grid, model.limits)
    where, clock = runtime(settings), Clock()
    pieces = latent_plan(volume.geometry, grid, model, settings)
    longer, wanted = covering_grid(grid, volume.geometry)
    task = _Task(volume, model, longer, Passage.between(longer, volume.geometry), settings, pieces, where)
    draws, spread = [], None
    running = _Running()
    for image in _draws(task, clock, progress):
        with clock.stage("finish"):
            if settings.mode == "mean" or settings.spread:
                running.add(image)
            if settings.mode == "sample":
                draws.append(task.whole(image)[wanted])
    with clock.stage("finish"):
        if settings.mode == "mean":
            draws.append(task.whole(running.mean)[wanted])
        if settings.spread:
            spread = Volume(running.deviation()[wanted].numpy(), grid)
    samples = tuple(Volume(hu, grid) for hu in draws)
    codec, kept = dataclasses.asdict(task.codec.settings), consistency(samples[0], volume)
    report = {
        **heading(model, dataclasses.asdict(settings), where, clock, task.passage),
        **kept,
        "codec": {name: codec[name] for name in ("low_hu", "high_hu", "axes", "tile")},
        "scale": task.codec.settings.scale,
        "condition": model.settings.condition,
        "sampler": "ddim",
        "steps": settings.step_count,
        "draws": settings.draw_count,
        "projected": settings.project,
        "warnings": [*warnings, *(misfit_warnings(kept, task.passage.operator) if settings.project else ())],
    }
    return Thinned(samples[0], samples, spread, report)


@dataclass(frozen=True, eq=False)
class _Task:
    """One volume to thin: what every draw shares."""

    volume: Volume
    model: LatentModel
    longer: Geometry
    passage: Passage
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
        settings = self.codec.settings
        image = self.codec.decode(latent, self.longer.shape)[0, 0]
        if not bool(image.isfinite().all()):
            raise NonFiniteError(
                "The decoded volume holds NaN or infinity, though every sampling step was finite. Check the codec with "
                "`lamella models verify`."
            )
        thick = self.thick
        cubic = along_z(cubic_matrix(self.volume.geometry.centres_mm, self.longer.centres_mm), thick)
        beyond = (cubic < settings.low_hu) | (cubic > settings.high_hu)  # dense bone, metal, air: never clipped away
        image = torch.where(beyond, cubic, image)
        del cubic, beyond
        return self.passage.operator.project(image, thick) if self.settings.project else image

    def whole(self, image: Tensor) -> np.ndarray:
        """Whole HU, consistent with the measurement unless a study does not want that."""
        return finish(image, self.thick, self.passage) if self.settings.project else whole_hu(image)


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


def _draws(task: _Task, clock: Clock, progress: Progress) -> Iterator[Tensor]:
    """One decoded draw after the other, (D, y, x) HU."""
    task.model.codec.to(task.where.device)
    task.model.unet.to(task.where.device)
    progress("encode", 0.0)
    with clock.stage("encode"):
        condition = task.condition()
    progress("encode", 1.0)
    asked = denoiser(_network(task), task.model.settings)
    steps, count = task.settings.step_count, task.settings.draw_count
    for sample in range(count):
        name = "sample" if count == 1 else f"sample {sample + 1} of {count}"
        with clock.stage("sample"):
            noise = latent_noise(condition, task.settings.seed, sample)
            latent = ddim(
                asked,
                noise,
                condition,
                steps,
                on_step=lambda i, _, name=name: progress(name, i / steps),  # type: ignore[misc]  # binds this name
            )
        progress("decode", 0.0)
        with clock.stage("decode"):
            image = task.image(latent)
        progress("decode", 1.0)
        yield image


def latent_noise(like: Tensor, seed: int, sample: int) -> Tensor:
    """White noise shaped as a latent (1, c, z', y', x'); every latent slice has a seed of its own, as in `draw`.

    Args:
        like: gives the shape.
        seed: of the run.
        sample: number of the draw.
    """
    noise = torch.empty(like.shape)
    for index in range(like.shape[2]):
        noise[:, :, index] = torch.randn(noise[:, :, index].shape, generator=slice_generator(seed, sample, index))
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
