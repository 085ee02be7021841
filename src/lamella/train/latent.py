"""Training of a latent diffusion model: the denoising network learns on the latents of a codec that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor

import lamella
from lamella.codecs.folder import load_codec
from lamella.codecs.kl import KlCodec, measure_scale
from lamella.data.collate import Batch, hu_of, unpadded_hu
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import DataSettings, load_sources
from lamella.diffusion import Head, LossSettings, ScheduleSettings, ddim, latent_mask, sample_losses
from lamella.errors import UsageError
from lamella.files.atomic import staged_file
from lamella.latent_diffusion.condition import (
    Conditioning,
    LatentDiffusionSettings,
    condition_latents,
    denoiser,
    first_state,
    interpolated,
)
from lamella.latent_diffusion.model import LatentModel
from lamella.networks.diffusion_unet import PRESETS, DiffusionUNet, DiffusionUNetSettings
from lamella.networks.folder import read_card
from lamella.thinning.model import Limits
from lamella.train.datasets import datasets
from lamella.train.fit import LAST, FitModule, fit
from lamella.train.fit_settings import FitSettings
from lamella.train.pictures import across
from lamella.train.precision import precision_on
from lamella.window import HuWindow

_PICTURE_STEPS = 20
"""DDIM steps of the picture that a validation logs."""

Preset = Literal["medium", "base", "small", "smoke"]


@dataclass(frozen=True)
class LatentRun:
    """Training of a latent diffusion model.

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
        UsageError: a scale that is not above 0, neither or both of `preset` and `unet` are named, or a head that cannot be
            sampled.
    """

    run: str
    data: DataSettings
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
        self.settings.require_samplable(_PICTURE_STEPS)

    @property
    def settings(self) -> LatentDiffusionSettings:
        """What the model is, the codec apart."""
        unet = PRESETS[self.preset] if self.unet is None and self.preset is not None else self.unet
        assert unet is not None, "checked above"
        return LatentDiffusionSettings(unet, self.schedule, self.head, self.condition, self.loss)


class LatentStage(FitModule[Batch]):
    """The denoising network and its loss.

    The codec is no submodule: it is neither trained nor averaged, and checkpoints do not repeat it.
    """

    def __init__(
        self, settings: LatentDiffusionSettings, codec: KlCodec, fit_settings: FitSettings, window: HuWindow
    ) -> None:
        super().__init__(fit_settings)
        self.network = DiffusionUNet(settings.unet)
        self.settings = settings
        self._codec, self._window = codec, window

    def on_fit_start(self) -> None:
        """Bring the codec to where the batches will be."""
        self._codec.to(self.device)
        self._codec.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack it

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Min-SNR weighted error of the head's target over real latents, at times and noise from the generator."""
        thin_hu, condition = self._given(batch)
        # latents as at inference, whatever precision the denoising network is trained in
        with torch.autocast(self.device.type, enabled=False):
            x0 = self._codec.encode(thin_hu)
        predict = denoiser(self.network, self.settings)
        t = predict.schedule.draw_times(len(x0), generator).to(x0.device)
        noise = torch.randn(x0.shape, generator=generator).to(x0.device)
        mask = latent_mask(batch["thin_mask"], self._codec.factor[0])
        losses = sample_losses(predict, x0, condition, t, noise, mask=mask, settings=self.settings.loss)
        return losses.mean(), {"latent_std": x0.std()}

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A held-out block across the slice axis, interpolated, sampled and true; the first slice is the lowest row."""
        first: Any = {key: value[:1] for key, value in batch.items()}  # type: ignore[index]  # lists and tensors alike
        (thin_hu, condition), depth = self._given(first), int(first["num_thin_slices"])
        noise = torch.randn(condition.shape, generator=torch.Generator().manual_seed(0)).to(condition.device)
        predict = denoiser(self.network, self.settings)
        latent = ddim(predict, first_state(predict, condition, noise, _PICTURE_STEPS), condition, _PICTURE_STEPS)
        between = interpolated(self._hu(first, "thick"), first["thick_mm"], first["thin_mm"])
        sampled = self._codec.decode(latent, (*thin_hu.shape[2:],), between)
        shown = (one[0, 0, :depth] for one in (between, sampled, thin_hu))
        return {"interpolated, sampled, true": across(*shown)}

    def _hu(self, batch: Batch, which: Literal["thick", "thin"]) -> Tensor:
        stacks = batch["input"] if which == "thick" else batch["target"]
        return hu_of(stacks, batch[f"num_{which}_slices"], self._window)  # type: ignore[literal-required]

    def _given(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The thin slices in HU, and the condition that the thick ones give."""
        with torch.autocast(self.device.type, enabled=False):
            condition = condition_latents(
                self._codec, self._hu(batch, "thick"), batch["thick_mm"], batch["thin_mm"], self.settings.condition
            )
        return self._hu(batch, "thin"), condition


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
    data = datasets(ItemBatches, load_sources(run.data), run.blocks, run.fit.items, run.validation_batches)
    codec = _scaled(run, load_codec(run.codec), data[0])
    torch.manual_seed(run.fit.seed)
    stage = LatentStage(run.settings, codec, run.fit, run.blocks.hu_window)
    done = fit(Path(run.run), stage, *data, run.fit)
    _export(run, codec, stage.network, done)
    return Path(run.run) / "model"


@rank_zero_only
def _export(run: LatentRun, codec: KlCodec, unet: DiffusionUNet, done: int) -> None:
    s = run.fit
    about = {
        "lamella": lamella.__version__,
        "steps": done,
        "samples_per_step": run.blocks.batch * s.accumulate * s.world,
        "precision": precision_on(s.precision, s.device),
    }
    model = LatentModel(run.name, "", _licence(run), run.settings, codec.to("cpu"), unet, run.limits)
    model.save(Path(run.run) / "model", {"training": about})


def _licence(run: LatentRun) -> str:
    """Of all weights in the model: the codec's are others' work, perhaps, and keep their terms."""
    codec = str(read_card(Path(run.codec))["licence"])
    return run.licence if codec == run.licence else f"{run.licence} (denoising network); {codec} (autoencoder)"


def _scaled(run: LatentRun, codec: KlCodec, data: ItemBatches) -> KlCodec:
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


def _measured(run: LatentRun, codec: KlCodec, data: ItemBatches) -> float:
    if run.fit.threads:
        torch.set_num_threads(run.fit.threads)
    device = "cuda" if run.fit.device != "cpu" and torch.cuda.is_available() else "cpu"
    blocks = (unpadded_hu(data[i], run.blocks.hu_window).to(device) for i in range(min(run.scale_batches, len(data))))
    return measure_scale(codec.to(device), blocks)
