"""Training of an autoencoder codec: thin and thick stacks in, the same stacks out, through a latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import lamella
from lamella.codecs.autoencoder_loss import AutoencoderLossSettings, autoencoder_loss
from lamella.codecs.folder import save_codec
from lamella.codecs.kl import CodecSettings, KlCodec, measure_scale
from lamella.data.blocks import BlockSettings, LatentBatch, LatentBlocks, validation_blocks
from lamella.errors import UsageError
from lamella.networks.autoencoder import Autoencoder, AutoencoderSettings
from lamella.train.fit import FitModule, fit
from lamella.train.fit_settings import FitSettings
from lamella.train.sources import SourceSettings, load_sources, tell_left_out


@dataclass(frozen=True)
class VaeRun:
    """A whole run.

    Attributes:
        run: folder for checkpoints, curves and the finished codec, `run`/model.
        data: what to learn from, and what is held out.
        kind: tells `lamella train` what this is.
        network: shape of the autoencoder.
        low_hu, high_hu: HU range that the codec knows; beyond it values are clipped.
        blocks: how blocks are drawn.
        loss: weights of its parts.
        fit: optimiser, steps, devices.
        validation_batches: fixed batches a validation.
        scale_batches: training batches whose latents give the scale.
        name: of the codec, in its card.
        licence: of the weights, in its card.
    """

    run: str
    data: SourceSettings
    fit: FitSettings
    kind: Literal["autoencoder"] = "autoencoder"
    network: AutoencoderSettings = field(
        default_factory=lambda: AutoencoderSettings(channels=(16, 32, 64), blocks=(1, 1, 1), groups=0)
    )
    low_hu: float = -1000.0
    high_hu: float = 1000.0
    blocks: BlockSettings = field(default_factory=BlockSettings)
    loss: AutoencoderLossSettings = field(default_factory=AutoencoderLossSettings)
    validation_batches: int = 16
    scale_batches: int = 32
    name: str = "compact"
    licence: str = "Apache-2.0"


class VaeStage(FitModule):
    """The autoencoder, its loss, and its error in HU."""

    def __init__(self, run: VaeRun) -> None:
        super().__init__(run.fit)
        self.network = Autoencoder(run.network)
        self.codec_settings = CodecSettings(run.network, run.low_hu, run.high_hu)
        self._loss = run.loss
        self._shown: tuple[Tensor, Tensor] | None = None

    def names(self, batch: LatentBatch) -> Sequence[str]:
        """Cases of the batch."""
        return batch.names

    def loss(self, batch: LatentBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Half of the batches are thin stacks, half thick ones: both are encoded when the codec is used."""
        thick = bool(torch.rand((), generator=generator) < 0.5)
        hu, mask = (batch.thick_hu, batch.thick_mask) if thick else (batch.thin_hu, batch.thin_mask)
        unit, mask = self._unit(hu, mask)
        factor = self.network.factor
        cells = [n // factor for n in unit.shape[2:]]
        noise = torch.randn((len(unit), self.network.settings.latent_channels, *cells), generator=generator)
        answer, mean, log_var = self.network(unit, noise.to(unit.device))
        loss, figures = autoencoder_loss(answer, unit, mean, log_var, mask, self._loss)
        width = self.codec_settings.high_hu - self.codec_settings.low_hu
        squares = (answer.detach().float() - unit).square() * mask[..., None, None]
        mse = squares.sum() / (mask.sum() * unit.shape[-1] * unit.shape[-2])
        figures["rmse_hu"] = width * mse.sqrt()
        if not self.training:
            self._shown = (unit[0, 0, unit.shape[2] // 2], answer[0, 0, unit.shape[2] // 2])
        return loss, figures

    def pictures(self) -> dict[str, NDArray[np.float32]]:
        """A slice, and what the codec makes of it."""
        if self._shown is None:
            return {}
        both = torch.cat([one.detach().float().clamp(0, 1) for one in self._shown], dim=1)
        return {"slice and its round trip": both.cpu().numpy()}

    def transfer_batch_to_device(self, batch: LatentBatch, device: torch.device, dataloader_idx: int) -> LatentBatch:
        """Move a batch."""
        return batch.to(device)

    def _unit(self, hu: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """HU -> the network's range, [0, 1], padded at the end to whole latent cells as the codec does."""
        s, factor = self.codec_settings, self.network.factor
        unit = ((hu - s.low_hu) / (s.high_hu - s.low_hu)).clamp(0.0, 1.0)
        short = [-n % factor for n in unit.shape[2:]]
        unit = F.pad(unit, (0, short[2], 0, short[1], 0, short[0]), mode="replicate")
        return unit, F.pad(mask, (0, short[0]))


def train_vae(run: VaeRun) -> Path:
    """Train, or go on training, measure the latent scale, and write the codec's folder.

    Returns:
        `run.run`/model.

    Raises:
        UsageError: data that is not there.
        NonFiniteError: the loss left the finite numbers.
    """
    if run.network.factor != 4:
        raise UsageError(
            f"An autoencoder codec has three levels, a factor of 4. Found a factor of {run.network.factor}."
        )
    train, held_out = load_sources(run.data)
    if not held_out:
        raise UsageError("There is nothing to validate on. Name held-out series, or cases of the split validation.")
    data = LatentBlocks(train, run.blocks, run.fit.items)
    tell_left_out(data)
    fixed = validation_blocks(held_out, run.blocks, run.validation_batches)
    torch.manual_seed(run.fit.seed)
    stage = VaeStage(run)
    done = fit(Path(run.run), stage, data, fixed, run.fit)
    out = Path(run.run) / "model"
    if stage.leads:
        codec = KlCodec(stage.network, stage.codec_settings)
        scale = measure_scale(codec, (data[i].unpadded_hu for i in range(min(run.scale_batches, len(data)))))
        about: dict[str, Any] = {
            "name": run.name,
            "licence": run.licence,
            "training": {"lamella": lamella.__version__, "steps": done, "batch": run.blocks.batch},
        }
        save_codec(out, codec.with_settings(scale=scale), about)
    return out
