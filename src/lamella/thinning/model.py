"""The protocol of models that `thin` can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lamella.thinning.coverage import Covered
from lamella.thinning.result import Progress, Thinned
from lamella.thinning.settings import Mode, ThinSettings
from lamella.volume import Geometry, Volume


@dataclass(frozen=True)
class Limits:
    """What a model was trained for; outside it `thin` warns, far outside its millimetres it refuses.

    Attributes:
        thickness_mm: least and greatest thickness of the thick slices in mm.
        spacing_mm: least and greatest distance between them in mm.
        target_mm: least and greatest distance between thin slices in mm.
        covered: what else its training covered, measured by `lamella.train.covered`; None where nobody measured it.
    """

    thickness_mm: tuple[float, float] = (2.0, 8.0)
    spacing_mm: tuple[float, float] = (2.0, 10.0)
    target_mm: tuple[float, float] = (0.6, 2.0)
    covered: Covered | None = None


@dataclass(frozen=True)
class Provenance:
    """Where an answer comes from: answers of equal provenance and source are the same image.

    Attributes:
        name, sha256, licence: of the model.
        draw: what the answer depends on besides model and mode, such as steps and seed; empty where on nothing.
        card: the figures of the model's card that voxels depend on.
    """

    name: str
    sha256: str
    licence: str
    draw: str
    card: str


class Plan(Protocol):
    """The pieces that a volume is cut into, and the memory that they take."""

    @property
    def peak_bytes(self) -> int:
        """Expected peak of the process in main memory."""

    def describe(self) -> str:
        """One line for people."""


class ThinModel(Protocol):
    """A model that makes thin slices of thick ones."""

    @property
    def name(self) -> str:
        """Of the model's card."""

    @property
    def sha256(self) -> str:
        """Of the weights file; empty for a model that was never saved."""

    @property
    def licence(self) -> str:
        """Of the weights."""

    @property
    def limits(self) -> Limits:
        """Geometry it was trained for."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Modes it knows, "mean" among them."""

    @property
    def sampled_modes(self) -> tuple[Mode, ...]:
        """Those of them that are sampled in steps from a seed."""

    def defaults(self, settings: ThinSettings) -> ThinSettings:
        """The same settings with every None filled in; a second time changes nothing.

        Raises:
            UsageError: the model cannot do what is asked.
        """

    def plan(self, thick: Geometry, grid: Geometry, settings: ThinSettings, smaller_than: Any = None) -> Plan:
        """The largest pieces that fit the memory, smaller than those of a plan of this model if one is given.

        Raises:
            UsageError: the model cannot do what is asked, or the device is not there.
            RefusedInput: not even the smallest pieces fit, or there are none; the message holds the plan.
        """

    def thin(self, volume: Volume, grid: Geometry, settings: ThinSettings, plan: Any, progress: Progress) -> Thinned:
        """Thin a volume of finite HU, none below air, with settings filled in and the plan that was made for it.

        Raises:
            NonFiniteError: a value that is not finite, with the step it appeared in.
        """

    def provenance(self, settings: ThinSettings, sample: int = 0) -> Provenance:
        """Of one sample, by its number from 0; the mean is number 0."""
