"""Training of a latent diffusion model: the denoising network learns on the latents of a codec that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

import lamella
from lamella.codecs.folder import load_codec
from lamella.codecs.kl import KlCodec, measure_scale
from lamella.data.blocks import BlockSettings, LatentBatch, LatentBlocks, validation_blocks
from lamella.diffusion import Head, LossSettings, ScheduleSettings, ddim, diffusion_loss, latent_mask
from lamella.errors import UsageError
from lamella.files.atomic import staged_file
from lamella.latent_diffusion.condition import Conditioning, LatentDiffusionSettings, condition_latents, denoiser
from lamella.latent_diffusion.model import LatentModel
from lamella.networks.diffusion_unet import PRESETS, DiffusionUNet, DiffusionUNetSettings
from lamella.networks.folder import read_card
from lamella.physics.slice_operator import along_z, cubic_matrix
from lamella.thinning.model import Limits
from lamella.train.fit import LAST, FitModule, fit
from lamella.train.fit_settings import FitSettings
from lamella.train.precision import precision_on
from lamella.train.sources import SourceSettings, load_sources, tell_left_out

_PICTURE_STEPS = 20
"""DDIM steps of the picture that a validation logs."""

_PICTURE_HU = (-1000.0, 400.0)
"""Black and white of that picture: lung, soft tissue and the edge of bone in one."""

Preset = Literal["medium", "base", "small", "smoke"]


@dataclass(frozen=True)
class LatentRun:
    """A whole run.

    Attributes:
        run: folder for checkpoints, curves and the finished model, `run`/model.
        data: what to learn from, and what is held out.
        codec: folder of the autoencoder; it is frozen from the first step and becomes part of the model.
        fit: optimiser, steps, devices.
        kind: tells `lamella train` what this is.
        preset: shape of the denoising network by name, or null where `unet` says it.
        unet: its shape, or null where `preset` names it.
        schedule: noise levels.
        head: what the network's output means.
        condition: how the thick slices enter.
        loss: how errors are counted.
        scale: latents are multiplied by it; null measures 1 / standard deviation on `scale_batches` training batches.
        scale_batches: see `scale`.
        blocks: how blocks are drawn.
        validation_batches: fixed batches a validation.
        limits: geometry the model is for.
        name: of the model, in its card.
        licence: of the denoising network's weights; the card adds that of the codec's, where it is another.

    Raises:
        UsageError: a scale that is not above 0, or neither or both of `preset` and `unet` are named.
    """

    run: str
    data: SourceSettings
    codec: str
    fit: FitSettings
    kind: Literal["latent"] = "latent"
    preset: Preset | None = None
    unet: DiffusionUNetSettings | None = None
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    head: Head = "v"
    condition: Conditioning = "thick_latents"
    loss: LossSettings = field(default_factory=lambda: LossSettings(min_snr_gamma=5.0))
    scale: float | None = None
    scale_batches: int = 32
    blocks: BlockSettings = field(default_factory=BlockSettings)
    validation_batches: int = 20
    limits: Limits = field(default_factory=Limits)
    name: str = "latent"
    licence: str = "Apache-2.0"

    def __post_init__(self) -> None:
        if (self.preset is None) == (self.unet is None):
            raise UsageError("The denoising network: name either preset or unet. Found both or neither.")
        if self.scale is not None and not self.scale > 0:
            raise UsageError(f"scale must be above 0, or null to be measured. Found {self.scale:g}.")
        if self.validation_batches < 1 or self.scale_batches < 1:
            raise UsageError(
                f"validation_batches and scale_batches must be at least 1. Found {self.validation_batches} and "
                f"{self.scale_batches}."
            )

    @property
    def settings(self) -> LatentDiffusionSettings:
        """What the model is, the codec apart."""
        unet = PRESETS[self.preset] if self.unet is None and self.preset is not None else self.unet
        assert unet is not None, "checked above"
        return LatentDiffusionSettings(unet, self.schedule, self.head, self.condition, self.loss)


class LatentStage(FitModule):
    """The denoising network and its loss.

    The codec is no submodule: it is neither trained nor averaged, and checkpoints do not repeat it.
    """

    def __init__(self, settings: LatentDiffusionSettings, codec: KlCodec, fit_settings: FitSettings) -> None:
        super().__init__(fit_settings)
        self.network = DiffusionUNet(settings.unet)
        self.settings = settings
        self._codec = codec
        self._shown: NDArray[np.float32] | None = None

    def on_fit_start(self) -> None:
        """Bring the codec to where the batches will be."""
        self._codec.to(self.device)

    def names(self, batch: LatentBatch) -> Sequence[str]:
        """Cases of the batch."""
        return batch.names

    def loss(self, batch: LatentBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Min-SNR weighted error of the head's target over real latents, at times and noise from the generator."""
        # latents as at inference, whatever precision the denoising network is trained in
        with torch.autocast(self.device.type, enabled=False):
            x0 = self._codec.encode(batch.thin_hu)
            condition = condition_latents(
                self._codec, batch.thick_hu, batch.thick_mm, batch.thin_mm, self.settings.condition
            )
        predict = denoiser(self.network, self.settings)
        t = predict.schedule.draw_times(len(x0), generator).to(x0.device)
        noise = torch.randn(x0.shape, generator=generator).to(x0.device)
        mask = latent_mask(batch.thin_mask, self._codec.factor[0])
        loss = diffusion_loss(predict, x0, condition, t, noise, mask=mask, settings=self.settings.loss)
        return loss, {"latent_std": x0.std()}

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> None:
        """The loss; and of the first batch a draw, while the averaged weights are in place."""
        super().validation_step(batch, batch_idx)
        if batch_idx == 0:
            self._shown = self._drawn(batch)

    def pictures(self) -> dict[str, NDArray[np.float32]]:
        """A held-out block across the slice axis: interpolated, drawn and true, side by side."""
        return {} if self._shown is None else {"interpolated, drawn, true": self._shown}

    def _drawn(self, batch: LatentBatch) -> NDArray[np.float32]:
        """(slice, 3 columns) in [0, 1] of a batch's first sample, its first slice the lowest row."""
        depth = int(batch.thin_mask[0].sum())
        thick, thin = batch.thick_hu[:1].float(), batch.thin_hu[0, 0, :depth]
        thick_mm, thin_mm = batch.thick_mm[:1], batch.thin_mm[:1, :depth]
        condition = condition_latents(self._codec, thick, thick_mm, thin_mm, self.settings.condition)
        noise = torch.randn(condition.shape, generator=torch.Generator().manual_seed(0)).to(condition.device)
        latent = ddim(denoiser(self.network, self.settings), noise, condition, _PICTURE_STEPS)
        drawn = self._codec.decode(latent, (depth, *thin.shape[1:]))[0, 0]
        between = cubic_matrix(*(mm[0].cpu().double().numpy() for mm in (thick_mm, thin_mm)))
        middle = thin.shape[1] // 2
        row = torch.cat([hu[:, middle] for hu in (along_z(between, thick[0, 0]), drawn, thin)], dim=1)
        low, high = _PICTURE_HU
        shown: NDArray[np.float32] = ((row.float() - low) / (high - low)).clamp(0, 1).flip(0).cpu().numpy()
        return shown

    def transfer_batch_to_device(self, batch: LatentBatch, device: torch.device, dataloader_idx: int) -> LatentBatch:
        """Move a batch."""
        return batch.to(device)


def train_latent(run: LatentRun) -> Path:
    """Train, or go on training, and write the model folder.

    Args:
        run: every setting; the same settings resume an interrupted run from its last checkpoint.

    Returns:
        The finished model folder, `run.run`/model.

    Raises:
        UsageError: data or a codec that is not there.
        NonFiniteError: the loss left the finite numbers; the message names the batch.
    """
    if not Path(run.codec).is_dir():
        raise UsageError(f"The codec folder {run.codec} does not exist. Set codec=PATH.")
    train, held_out = load_sources(run.data)
    if not held_out:
        raise UsageError("There is nothing to validate on. Name held-out series, or cases of the split validation.")
    data = LatentBlocks(train, run.blocks, run.fit.items)
    tell_left_out(data)
    fixed = validation_blocks(held_out, run.blocks, run.validation_batches)
    codec = _scaled(run, load_codec(run.codec), data)
    torch.manual_seed(run.fit.seed)
    stage = LatentStage(run.settings, codec, run.fit)
    done = fit(Path(run.run), stage, data, fixed, run.fit)
    out = Path(run.run) / "model"
    if stage.leads:
        licence = _licence(run)
        model = LatentModel(run.name, "", licence, run.settings, codec.to("cpu"), stage.network, run.limits)
        model.save(out, {"training": _about(run, done)})
    return out


def _licence(run: LatentRun) -> str:
    """Of all weights in the model: the codec's are others' work, perhaps, and keep their terms."""
    codec = str(read_card(Path(run.codec))["licence"])
    return run.licence if codec == run.licence else f"{run.licence} (denoising network); {codec} (autoencoder)"


def _scaled(run: LatentRun, codec: KlCodec, data: LatentBlocks) -> KlCodec:
    """The codec at the run's scale; both are kept beside the checkpoints, since a resume must use the same.

    Raises:
        UsageError: the run was begun with other weights of the codec, or what was kept cannot be read.
    """
    kept, weights = Path(run.run) / "scale.yaml", str(read_card(Path(run.codec))["weights_sha256"])
    begun = (Path(run.run) / f"{LAST}.ckpt").is_file()  # else nothing was learnt, by whatever scale
    if not begun or not kept.is_file():
        scale = run.scale if run.scale is not None else _measured(run, codec, data)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(kept, overwrite=True) as file:
            file.write_text(yaml.safe_dump({"latent_scale": scale, "codec_sha256": weights}), encoding="utf-8")
    try:
        found = yaml.safe_load(kept.read_text(encoding="utf-8"))
        scale, before = float(found["latent_scale"]), str(found.get("codec_sha256", weights))
    except (yaml.YAMLError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise UsageError(
            f"The file {kept} holds no latent_scale, which the run went by. Give run=FOLDER for a run of its own."
        ) from error
    if before != weights:
        raise UsageError(
            f"The run in {run.run} has learnt from the latents of another codec. Found {run.codec} with SHA-256 {weights}, "
            f"expected {before}. Give run=FOLDER for a run of its own, or bring the former codec back."
        )
    return codec.with_settings(scale=scale)


def _measured(run: LatentRun, codec: KlCodec, data: LatentBlocks) -> float:
    if run.fit.threads:
        torch.set_num_threads(run.fit.threads)
    device = "cuda" if run.fit.device != "cpu" and torch.cuda.is_available() else "cpu"
    blocks = (data[i].unpadded_hu.to(device) for i in range(min(run.scale_batches, len(data))))
    return measure_scale(codec.to(device), blocks)


def _about(run: LatentRun, done: int) -> dict[str, Any]:
    s = run.fit
    return {
        "lamella": lamella.__version__,
        "steps": done,
        "samples_per_step": run.blocks.batch * s.accumulate * s.world,
        "precision": precision_on(s.precision, s.device),
    }
