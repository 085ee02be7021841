"""Sample what the measurement leaves open: noise seeded by position, then the flow, at a scale that the mode decides."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lamella.codecs.packed import PackedCodec
from lamella.diffusion.denoiser import Denoiser
from lamella.diffusion.sample import trigflow
from lamella.diffusion.schedule import FlowSchedule
from lamella.embedded.networks import residual_noise
from lamella.embedded.predict import Advance, Job, Prediction, flow_network
from lamella.thinning.slice_noise import slice_generator

_ROWS = 32
"""Rows treated at a time where an operation runs along z alone."""


def position_noise(shape: tuple[int, int, int], codec: PackedCodec, seed: int, sample: int) -> Tensor:
    """White noise (n, D, y', x') of (D, y, x) pixels. Every slice has its own seed: no block or thread count changes it."""
    count, y, x = shape
    noise = torch.empty((codec.channels, count, y // codec.side, x // codec.side))
    for index in range(count):
        plane = torch.randn((1, 1, 1, y, x), generator=slice_generator(seed, sample, index))
        noise[:, index] = codec.encode(plane)[0, :, 0]
    return noise


def _columns(packed: Tensor, log_scale: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """(D, some rows, x') of a packed volume and of its scale, to be changed in place: few whole volumes are to spare."""
    for part, level in zip(packed, log_scale, strict=True):
        yield from zip(part.split(_ROWS, dim=1), level.split(_ROWS, dim=1), strict=True)


def sample_residual(job: Job, prediction: Prediction, noise: Tensor, steps: int, advance: Advance) -> Tensor:
    """One sample of the residual in HU, (n, D, y', x'), within the null space of the measurement.

    Args:
        job: networks and geometry.
        prediction: what the flow is conditioned on, with the scale of this mode.
        noise: (n, D, y', x') white; overwritten.
        steps: of the sampler; the first evaluates no network.
        advance: called with the fraction done.

    Raises:
        NonFiniteError: naming the step.
    """
    grids, log_scale = job.grids, prediction.log_scale
    raw = flow_network(job, prediction)

    def evaluate(z_t: Tensor, t: Tensor, _: None) -> Tensor:
        if float(t[0]) == 1.0:
            # The state at t = 1 holds nothing of the residual, and its expectation is 0: the mean is the mean.
            return torch.zeros(()).expand(z_t.shape)
        return raw(z_t, t, float(denoiser.coefficients(t.double()).c_in))

    denoiser: Denoiser[None] = Denoiser(evaluate, FlowSchedule(), "preconditioned", scaled=False)

    def project(z: Tensor) -> Tensor:
        for part, level in _columns(z[0], log_scale):
            width = torch.exp(level.float())
            part.copy_(grids.operator.null(width * part) / width)
        return z

    for part, level in _columns(noise, log_scale):
        part.copy_(residual_noise(part, torch.exp(level.float()), grids))
    z = trigflow(denoiser, noise[None], None, steps, project=project, on_step=lambda i, _: advance(i / steps))[0]
    for part, level in _columns(z, log_scale):
        part.mul_(torch.exp(level.float()))
    return z
