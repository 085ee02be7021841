"""Noise schedules, denoisers, the training loss and samplers; knows nothing of codecs, HU or files."""

from lamella.diffusion.denoiser import Denoiser, Head
from lamella.diffusion.loss import LossSettings, latent_mask, min_snr_weight, sample_losses
from lamella.diffusion.sample import ddim, ddpm, error_gains, trigflow
from lamella.diffusion.schedule import (
    FlowSchedule,
    NoiseSchedule,
    ScheduleSettings,
    VpSchedule,
    make_schedule,
)

__all__ = [
    "Denoiser",
    "FlowSchedule",
    "Head",
    "LossSettings",
    "NoiseSchedule",
    "ScheduleSettings",
    "VpSchedule",
    "ddim",
    "ddpm",
    "error_gains",
    "latent_mask",
    "make_schedule",
    "min_snr_weight",
    "sample_losses",
    "trigflow",
]
