"""Training of an autoencoder codec: thin and thick stacks in, the same stacks out, through a latent.

With side information all stacks are thin ones, and the decoder is shown their thick slices, interpolated. A codec named by
`start` keeps its weights, and only the adapter behind its decoder learns: so MAISI's weights gain side information unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from lamella.codecs.folder import load_codec, save_codec
from lamella.codecs.kl import CodecSettings, KlCodec, measure_scale, whole_cells
from lamella.data.collate import Batch, hu_of, unpadded_hu
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import DataSettings, load_sources
from lamella.errors import UsageError
from lamella.latent_diffusion.condition import interpolated
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings
from lamella.networks.folder import read_card
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
        network: shape of the autoencoder; of one with `start`, only `side_channels` and `side_blocks` are looked at.
        start: folder of a codec to which an adapter for side information is trained, and nothing else; empty for none.
        low_hu, high_hu: HU range that the codec knows; beyond it values are clipped. Those of `start`, where one is named.
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
    start: str = ""
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
        self.codec_settings = CodecSettings(run.network, run.low_hu, run.high_hu)
        if run.start:
            self.network, self.codec_settings = _with_adapter(run)
        else:
            self.network = Autoencoder(run.network)
        self._beside = self.codec_settings.network.side_information != "none"
        self._loss, self._window = run.loss, run.blocks.hu_window

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Half of the batches are thin stacks, half thick ones: both are encoded when the codec is used."""
        thick = bool(torch.rand((), generator=generator) < 0.5)
        unit, mask, beside = self._unit(batch, thick=thick and not self._beside)
        cells = [n // self.network.factor for n in unit.shape[2:]]
        noise = torch.randn((len(unit), self.network.settings.latent_channels, *cells), generator=generator)
        s = self.codec_settings
        given = [None if one is None else s.to_network(one) for one in (unit, noise.to(unit.device), beside)]
        answer, mean, log_var = self.network(*given)
        answer = s.from_network(answer)
        loss, figures = autoencoder_loss(answer, unit, mean, log_var, mask, self._loss)
        return loss, {**figures, "rmse_hu": self._rmse_hu(answer, unit, mask)} | (
            {} if beside is None else {"interpolated_rmse_hu": self._rmse_hu(beside, unit, mask)}
        )

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A slice, and what the codec makes of it."""
        unit, _, beside = self._unit(batch, thick=False)
        s = self.codec_settings
        given = [None if one is None else s.to_network(one) for one in (unit, beside)]
        answer = s.from_network(self.network(given[0], None, given[1])[0])
        both = torch.cat([one[0, 0, unit.shape[2] // 2].float() for one in (unit, answer)], dim=1)
        return {"slice and its round trip": both.clamp(0, 1).cpu().numpy()}

    def _rmse_hu(self, answer: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        s = self.codec_settings
        squares = (answer.detach().float() - truth).square() * mask[..., None, None]
        mse = squares.sum() / (mask.sum() * truth.shape[-1] * truth.shape[-2])
        return (s.high_hu - s.low_hu) / (s.unit[1] - s.unit[0]) * mse.sqrt()

    def _unit(self, batch: Batch, *, thick: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """(stacks in the network's range, mask, side information), padded at the end to whole latent cells as by the codec."""
        s, factor = self.codec_settings, self.network.factor
        thick_hu = hu_of(batch["input"], batch["num_thick_slices"], self._window)
        stacks, mask, beside = thick_hu, batch["thick_mask"], None
        if not thick:
            stacks, mask = hu_of(batch["target"], batch["num_thin_slices"], self._window), batch["thin_mask"]
        if self._beside:
            between = interpolated(thick_hu, batch["thick_mm"], batch["thin_mm"])
            beside = whole_cells(s.to_unit(between), factor)
        unit = whole_cells(s.to_unit(stacks), factor)
        return unit, F.pad(mask, (0, unit.shape[2] - stacks.shape[2])), beside


def _with_adapter(run: VaeRun) -> tuple[Autoencoder, CodecSettings]:
    """The network of `start` with an adapter behind its decoder; all but the adapter is frozen.

    Raises:
        UsageError: the codec has side information already.
    """
    codec = load_codec(run.start)
    if codec.shown:
        raise UsageError(f"The codec in {run.start} has side information already. Name one that has none as start.")
    width, depth = run.network.side_channels, run.network.side_blocks
    settings = replace(
        codec.settings.network, side_information="interpolated_thick", side_channels=width, side_blocks=depth
    )
    network = Autoencoder(settings)
    network.load_state_dict(codec.network.state_dict(), strict=False)
    network.requires_grad_(False)
    assert network.adapter is not None, "its settings ask for one"
    network.adapter.requires_grad_(True)
    return network, replace(codec.settings, network=settings)


def train_vae(run: VaeRun) -> Path:
    """Train, or go on training, measure the latent scale, and write the codec's folder.

    Returns:
        `run.run`/model.

    Raises:
        UsageError: data that is not there, or another codec in `start` than the run was begun with.
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
    if run.start:
        _put_back(run, stage.network)
    _export(run, stage, data[0], done)
    return Path(run.run) / "model"


def _put_back(run: VaeRun, network: Autoencoder) -> None:
    """The codec's own weights as they were: the average of weights rounds those that never learn.

    Raises:
        UsageError: `start` holds another codec than the one that the adapter has learnt behind.
    """
    own, trained = load_codec(run.start).network.state_dict(), network.state_dict()
    if not all(torch.allclose(trained[name], one, rtol=1e-4, atol=1e-6) for name, one in own.items()):
        raise UsageError(
            f"The run in {run.run} has trained an adapter behind another codec than {run.start} holds now. Give run=FOLDER "
            "for a run of its own, or bring the former codec back."
        )
    network.load_state_dict(own, strict=False)


@rank_zero_only
def _export(run: VaeRun, stage: VaeStage, data: ItemBatches, done: int) -> None:
    codec, count = KlCodec(stage.network, stage.codec_settings), min(run.scale_batches, len(data))
    scale = measure_scale(codec, (unpadded_hu(data[i], run.blocks.hu_window) for i in range(count)))
    licence = f"{run.licence} (adapter); {read_card(run.start)['licence']} (autoencoder)" if run.start else run.licence
    about: dict[str, Any] = {
        "name": run.name,
        "licence": licence,
        "training": {"lamella": lamella.__version__, "steps": done, "batch": run.blocks.batch},
    }
    save_codec(Path(run.run) / "model", codec.with_settings(scale=scale), about)
