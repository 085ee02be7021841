"""Training of an autoencoder codec: thin and thick stacks in, the same stacks out, through a latent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor

import lamella
from lamella.codecs.autoencoder_loss import AutoencoderLossSettings, autoencoder_loss
from lamella.codecs.folder import save_codec
from lamella.codecs.kl import CodecSettings, KlCodec, measure_scale
from lamella.data.collate import Batch, hu_of, unpadded_hu
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import DataSettings, load_sources
from lamella.errors import UsageError
from lamella.networks.autoencoder import Autoencoder, AutoencoderSettings
from lamella.train.datasets import datasets
from lamella.train.fit import FitModule, fit
from lamella.train.fit_settings import FitSettings


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
    data: DataSettings
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


class VaeStage(FitModule[Batch]):
    """The autoencoder, its loss, and its error in HU."""

    def __init__(self, run: VaeRun) -> None:
        super().__init__(run.fit)
        self.network = Autoencoder(run.network)
        self.codec_settings = CodecSettings(run.network, run.low_hu, run.high_hu)
        self._loss, self._window = run.loss, run.blocks.hu_window

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Half of the batches are thin stacks, half thick ones: both are encoded when the codec is used."""
        thick = bool(torch.rand((), generator=generator) < 0.5)
        unit, mask = self._unit(batch, thick)
        cells = [n // self.network.factor for n in unit.shape[2:]]
        noise = torch.randn((len(unit), self.network.settings.latent_channels, *cells), generator=generator)
        answer, mean, log_var = self.network(unit, noise.to(unit.device))
        loss, figures = autoencoder_loss(answer, unit, mean, log_var, mask, self._loss)
        width = self.codec_settings.high_hu - self.codec_settings.low_hu
        squares = (answer.detach().float() - unit).square() * mask[..., None, None]
        mse = squares.sum() / (mask.sum() * unit.shape[-1] * unit.shape[-2])
        return loss, {**figures, "rmse_hu": width * mse.sqrt()}

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A slice, and what the codec makes of it."""
        unit, _ = self._unit(batch, thick=False)
        both = torch.cat([one[0, 0, unit.shape[2] // 2].float() for one in (unit, self.network(unit)[0])], dim=1)
        return {"slice and its round trip": both.clamp(0, 1).cpu().numpy()}

    def _unit(self, batch: Batch, thick: bool) -> tuple[Tensor, Tensor]:
        """(stacks in the network's range, [0, 1], mask), both padded at the end to whole latent cells as the codec does."""
        s, factor = self.codec_settings, self.network.factor
        stacks, counts, mask = batch["target"], batch["num_thin_slices"], batch["thin_mask"]
        if thick:
            stacks, counts, mask = batch["input"], batch["num_thick_slices"], batch["thick_mask"]
        unit = ((hu_of(stacks, counts, self._window) - s.low_hu) / (s.high_hu - s.low_hu)).clamp(0.0, 1.0)
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
    data = datasets(ItemBatches, load_sources(run.data), run.blocks, run.fit.items, run.validation_batches)
    torch.manual_seed(run.fit.seed)
    stage = VaeStage(run)
    done = fit(Path(run.run), stage, *data, run.fit)
    _export(run, stage, data[0], done)
    return Path(run.run) / "model"


@rank_zero_only
def _export(run: VaeRun, stage: VaeStage, data: ItemBatches, done: int) -> None:
    codec, count = KlCodec(stage.network, stage.codec_settings), min(run.scale_batches, len(data))
    scale = measure_scale(codec, (unpadded_hu(data[i], run.blocks.hu_window) for i in range(count)))
    about: dict[str, Any] = {
        "name": run.name,
        "licence": run.licence,
        "training": {"lamella": lamella.__version__, "steps": done, "batch": run.blocks.batch},
    }
    save_codec(Path(run.run) / "model", codec.with_settings(scale=scale), about)
