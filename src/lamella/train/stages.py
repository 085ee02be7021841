"""The two stages of the embedded model: which network learns, from which loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.data.patches import Pairs, cubic_error
from lamella.diffusion import Denoiser, FlowSchedule, trigflow
from lamella.embedded.loss import (
    MeanLossSettings,
    counted_mean,
    flow_loss,
    flow_network,
    flow_target,
    mean_scale_loss,
)
from lamella.embedded.networks import FlowNet, MeanScaleNet, residual_noise
from lamella.train.fit import FitModule
from lamella.train.fit_settings import FitSettings
from lamella.train.pictures import across

_PICTURE_STEPS = 4
"""Steps of the sample that a validation of the flow logs."""


class MeanStage(FitModule[Pairs]):
    """Mean and scale together."""

    def __init__(self, network: MeanScaleNet, settings: FitSettings, loss: MeanLossSettings) -> None:
        super().__init__(settings)
        self.network = network
        self._loss = loss

    def names(self, batch: Pairs) -> Sequence[str]:
        """Views of the batch."""
        return batch.names

    def loss(self, batch: Pairs, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Nothing is random. In validation also the squared error of the interpolation that the mean must beat."""
        loss, figures = mean_scale_loss(self.network, batch, batch.condition, self._loss)
        if not self.training:
            start = cubic_error(batch, batch.grids.start_matrix)
            figures |= {"start_mse_hu2": start, "gain_over_start_db": 10 * torch.log10(start / figures["mse_hu2"])}
        return loss, figures

    def pictures(self, batch: Pairs) -> dict[str, NDArray[np.float32]]:
        """A held-out patch across the slice axis."""
        mean, _ = self.network(batch.thick_hu[:1], batch.grids, batch.condition[:1])
        start, found = batch.grids.start(batch.thick_hu[0, 0]), self.network.codec.decode(mean)[0, 0]
        return {"interpolated, mean, true": across(start, found, batch.thin_hu[0, 0])}


class FlowStage(FitModule[Pairs]):
    """The flow on the standardised residual; mean and scale stay as they are."""

    def __init__(self, network: MeanScaleNet, flow: FlowNet, settings: FitSettings, times: FlowSchedule) -> None:
        super().__init__(settings)
        self.network = network.requires_grad_(False)
        self.flow = flow
        self.denoiser = Denoiser(flow_network(flow), times, "preconditioned")

    def names(self, batch: Pairs) -> Sequence[str]:
        """Views of the batch."""
        return batch.names

    def loss(self, batch: Pairs, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at times and noise from the generator; and the power of the target, 1 if well scaled."""
        z, head_output = flow_target(self.network, batch, batch.condition)
        t = self.denoiser.schedule.draw_times(len(z), generator).to(z.device)
        white = torch.randn(z.shape, generator=generator).to(z.device)
        loss = flow_loss(self.denoiser, z, head_output, batch, batch.condition, t, white)
        return loss, {"z_power": counted_mean(z.square(), batch.counted)}

    def pictures(self, batch: Pairs) -> dict[str, NDArray[np.float32]]:
        """A held-out patch across the slice axis."""
        condition, grids = batch.condition[:1], batch.grids
        mean, head_output = self.network(batch.thick_hu[:1], grids, condition)
        scale = torch.exp(head_output.log_scale)
        white = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)).to(mean.device)
        z = trigflow(
            self.denoiser,
            residual_noise(white, scale, grids),
            (head_output, condition),
            _PICTURE_STEPS,
            project=lambda guess: grids.operator.null(scale * guess) / scale,
        )
        hu = (self.network.codec.decode(one)[0, 0] for one in (mean, mean + scale * z))
        return {"mean, sampled, true": across(*hu, batch.thin_hu[0, 0])}
