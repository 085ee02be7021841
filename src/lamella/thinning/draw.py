"""Draw what the measurement leaves open: noise seeded by position, then the flow, at a scale the mode decides."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from lamella.diffusion.denoiser import Denoiser
from lamella.diffusion.sample import flow
from lamella.diffusion.schedule import FlowSchedule
from lamella.embedded import FlowNet, residual_noise
from lamella.latent.packed import PackedCodec
from lamella.passage import Passage
from lamella.thinning.look import Advance, View, flow_network
from lamella.thinning.plan import MemoryPlan, Runtime


def position_noise(shape: tuple[int, int, int], codec: PackedCodec, seed: int, sample: int) -> Tensor:
    """White noise (n, D, y', x') in which every slice has a seed of its own: no block, tile or thread count changes it.

    Args:
        shape: (D, y, x) in pixels.
        codec: how pixels are packed.
        seed: of the run.
        sample: number of the draw.
    """
    count, y, x = shape
    noise = torch.empty((codec.channels, count, y // codec.side, x // codec.side))
    for index in range(count):
        digest = hashlib.sha256(f"lamella {seed} {sample} {index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        plane = torch.randn((1, 1, 1, y, x), generator=generator)
        noise[:, index] = codec.encode(plane)[0, :, 0]
    return noise


def texture_log_scale(view: View, noise_hu: float | None, cap: float) -> Tensor:
    """The predicted scale, capped at `cap` times the scan's own noise.

    In homogeneous soft tissue the network has nothing but noise to be unsure of. Above that the scale speaks of structure,
    which texture does not invent. Where the noise could not be measured it is taken to be the median scale.
    """
    step = max(1, view.log_scale.numel() // 4_000_000)
    level = float(view.log_scale.flatten()[::step].float().median()) if noise_hu is None else math.log(noise_hu)
    return view.log_scale.clamp(max=level + math.log(cap))


def draw(
    network: FlowNet,
    view: View,
    log_scale: Tensor,
    noise: Tensor,
    passage: Passage,
    steps: int,
    plan: MemoryPlan,
    runtime: Runtime,
    advance: Advance,
) -> Tensor:
    """One draw of the residual in HU, (n, D, y', x'), within the null space of the measurement.

    Args:
        network: the flow.
        view: what it is conditioned on.
        log_scale: (n, D, y', x') the scale of this mode.
        noise: (n, D, y', x') white; overwritten.
        passage: the geometry.
        steps: Euler steps.
        plan: block sizes.
        runtime: device and number format.
        advance: told the fraction done.

    Raises:
        NonFiniteError: naming the step.
    """
    scale = torch.exp(log_scale.float())
    denoiser: Denoiser[None] = Denoiser(
        flow_network(network, view, log_scale, passage, plan, runtime), FlowSchedule(), "preconditioned"
    )

    def project(z: Tensor) -> Tensor:
        for part, width in zip(z[0], scale, strict=True):
            part.copy_(passage.operator.null(width * part) / width)
        return z

    # A packed channel at a time, in place: at full size a volume takes 0.3 GB, and there are few to spare.
    for part, width in zip(noise, scale, strict=True):
        part.copy_(residual_noise(part, width, passage))
    z = flow(denoiser, noise[None], None, steps, project=project, on_step=lambda i, _: advance(i / steps))
    return z[0].mul_(scale)
