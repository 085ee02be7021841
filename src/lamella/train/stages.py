"""The two stages as Lightning modules: which network learns, from which loss."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lamella.data.patches import Pairs, cubic_error
from lamella.diffusion.denoiser import Denoiser
from lamella.diffusion.schedule import FlowSchedule
from lamella.embedded.loss import MeanLossSettings, counted_mean, flow_loss, flow_network, flow_target, mean_scale_loss
from lamella.embedded.networks import FlowNet, MeanScaleNet
from lamella.errors import NonFiniteError
from lamella.train.checkpoints import set_rates
from lamella.train.settings import StageSettings


class Stage(pl.LightningModule):
    """Optimiser, schedule, logging and the guard against non-finite losses; a stage adds its loss."""

    def __init__(self, settings: StageSettings) -> None:
        super().__init__()
        self.settings = settings

    def transfer_batch_to_device(self, batch: Pairs, device: torch.device, dataloader_idx: int) -> Pairs:
        """Move the tensors of a batch; its geometry stays on the CPU, in float64."""
        tensors = ("thin_hu", "thick_hu", "condition", "counted")
        return dataclasses.replace(batch, **{name: getattr(batch, name).to(device) for name in tensors})

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up, perhaps a stretch at the peak, and a cosine to a hundredth of it."""
        s = self.settings
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=s.learning_rate, weight_decay=s.weight_decay, betas=(0.9, 0.99))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, s.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A run goes on at the rates of its settings."""
        s = self.settings
        set_rates(checkpoint, s.learning_rate, s.rate_factor, s.weight_decay)

    def report(self, loss: Tensor, figures: dict[str, Tensor], batch: Pairs) -> Tensor:
        """Log a training step; stop on a loss that is not finite, naming the batch."""
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"The loss is not finite at step {self.global_step}. Batch: {', '.join(batch.names)}. "
                "Lower the learning rate, or look for damaged values in these series."
            )
        self.log_dict({f"train/{k}": v for k, v in figures.items()}, batch_size=len(batch.names))
        self.log("train/loss", loss.detach(), batch_size=len(batch.names), prog_bar=True)
        return loss


class MeanStage(Stage):
    """Mean and scale together."""

    def __init__(self, network: MeanScaleNet, settings: StageSettings, loss: MeanLossSettings) -> None:
        super().__init__(settings)
        self.network = network
        self._loss = loss

    def training_step(self, batch: Pairs, batch_idx: int) -> Tensor:
        """One optimiser step."""
        return self.report(*mean_scale_loss(self.network, batch, batch.condition, self._loss), batch)

    def validation_step(self, batch: Pairs, batch_idx: int) -> None:
        """Squared errors of the mean and of the two interpolations it must beat."""
        _, figures = mean_scale_loss(self.network, batch, batch.condition, self._loss)
        start = cubic_error(batch, batch.grids.start_matrix)
        for name, value in {**figures, "start_mse_hu2": start}.items():
            self.log(f"val/{name}", value, batch_size=1)
        self.log("val/gain_over_start_db", 10 * torch.log10(start / figures["mse_hu2"]), batch_size=1, prog_bar=True)


class FlowStage(Stage):
    """The flow on the standardised residual; mean and scale stay as they are."""

    def __init__(
        self, network: MeanScaleNet, flow: FlowNet, settings: StageSettings, times: FlowSchedule, seed: int
    ) -> None:
        super().__init__(settings)
        self.network = network.requires_grad_(False)
        self.flow = flow
        self.seed = seed
        self.denoiser = Denoiser(flow_network(flow), times, "preconditioned")

    def loss(self, batch: Pairs, seed: int) -> tuple[Tensor, Tensor]:
        """The loss at times and noise that depend on the seed alone; and the power of the target, 1 if well scaled."""
        generator = torch.Generator().manual_seed(seed)
        z, head_output = flow_target(self.network, batch, batch.condition)
        t = self.denoiser.schedule.draw_times(len(z), generator).to(z.device)
        white = torch.randn(z.shape, generator=generator).to(z.device)
        loss = flow_loss(self.denoiser, z, head_output, batch, batch.condition, t, white)
        return loss, counted_mean(z.square(), batch.counted)

    def training_step(self, batch: Pairs, batch_idx: int) -> Tensor:
        """One optimiser step."""
        loss, power = self.loss(batch, 2 * (self.seed + self.global_step))
        return self.report(loss, {"z_power": power}, batch)

    def validation_step(self, batch: Pairs, batch_idx: int) -> None:
        """The same loss at fixed times and noise."""
        loss, power = self.loss(batch, 2 * batch_idx + 1)
        self.log("val/loss", loss, batch_size=1, prog_bar=True)
        self.log("val/z_power", power, batch_size=1)
