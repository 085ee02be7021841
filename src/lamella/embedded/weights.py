"""The embedded model as one folder: its two networks, their settings and what was chosen after training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lamella.embedded.networks import EmbeddedSettings, FlowNet, MeanScaleNet
from lamella.networks.folder import EMBEDDED, read_folder, save_folder
from lamella.thinning.model import Limits


@dataclass(frozen=True)
class Calibration:
    """Figures chosen after training, on training and held-out series, never on those of the published figures.

    Attributes:
        noise_share: noise that the measurement leaves open, over what noise white along z would leave (`noise_level`).
        scale_limit_hu: the network's scale s becomes s / sqrt(1 + (s / limit)^2), in HU.
        sample_temperature: in mode `sample`, factor on the part of the scale above the noise level.
    """

    noise_share: float = 0.82
    scale_limit_hu: float = math.inf
    sample_temperature: float = 1.0


@dataclass(frozen=True, eq=False)
class EmbeddedWeights:
    """What the model folder holds.

    Attributes:
        name, sha256, licence: see `ThinModel`.
        settings: shape of the networks.
        limits: geometry it was trained for.
        calibration: figures chosen after training.
        mean: thick slices -> least-error answer and scale.
        flow: raw network of the residual's denoiser.
    """

    name: str
    sha256: str
    licence: str
    settings: EmbeddedSettings
    limits: Limits
    calibration: Calibration
    mean: MeanScaleNet
    flow: FlowNet

    @property
    def pixel_step(self) -> int:
        """Rows and columns are padded to a multiple of this many pixels."""
        return self.settings.side * math.lcm(self.mean.trunk.factor, self.flow.unet.factor)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read a model folder; its networks are frozen.

        Raises:
            ModelError: a file is missing, its SHA-256 differs from the card's, its tensors do not fit the settings, or
                it is a model of another kind.
        """
        held = read_folder(folder, EMBEDDED)
        settings = held.settings(EmbeddedSettings, "settings", optional=True)
        mean, flow = MeanScaleNet(settings), FlowNet(settings)
        held.fill_networks({"mean": mean, "flow": flow})
        return cls(
            **held.identity,
            settings=settings,
            limits=held.settings(Limits, "limits", optional=True),
            calibration=held.settings(Calibration, "calibration", optional=True),
            mean=mean.eval().requires_grad_(False),
            flow=flow.eval().requires_grad_(False),
        )

    def save(self, folder: Path, about: Mapping[str, Any], *, overwrite: bool = True) -> None:
        """Write weights and card; `about` is what only the training run knows (data, steps, metrics, commit)."""
        own = {key: getattr(self, key) for key in ("name", "licence", "settings", "limits", "calibration")}
        networks = {"mean": self.mean, "flow": self.flow}
        save_folder(folder, {"kind": EMBEDDED, **own, **about}, networks, overwrite=overwrite)
