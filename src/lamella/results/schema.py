"""What results.json holds; mappings are by the name of a method (from the config) or of a figure (from the catalogue)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lamella.metrics.catalogue import Figure
from lamella.results.compared import Gain, Interval, Paired, Pooled
from lamella.results.evidence import Harm, ToolRun

Kind = Literal["thickened", "pair", "phantom"]
MethodKind = Literal["baseline", "projected", "model", "outside"]
Curve = tuple[float | None, ...]

POOLED = "pooled"
"""The case of a gain that is a mean over all cases."""

GAIN_FIGURE = "psnr_4095_db"


@dataclass(frozen=True)
class ModelUsed:
    """A model that answered."""

    name: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Method:
    """A method: its key, unique in an evaluation, its name for people, and what it is."""

    name: str
    label: str
    kind: MethodKind


@dataclass(frozen=True)
class Slices:
    """One stack of slices: how many, how far apart, how thick."""

    slices: int
    spacing_mm: float
    thickness_mm: float


@dataclass(frozen=True)
class TruthFigures:
    """What the truth itself reads, where a method's figure is a difference or has no fixed best value; None: not measured."""

    edge_width_z_mm: float | None = None
    stripe_ratio: float | None = None
    laa_950_percent: float | None = None
    laa_910_percent: float | None = None
    perc15_hu: float | None = None
    foci: float | None = None
    fissure_visible: float | None = None


@dataclass(frozen=True)
class NoiseFloor:
    """The truth's noise in homogeneous soft tissue, and the least RMSE that it leaves to any method there.

    The floor is that of the noise's own correlation along z, the white floor that of white noise; None: not measured.
    """

    sd_in_plane_hu: float
    sd_along_z_hu: float
    floor_soft_hu: float | None
    white_floor_soft_hu: float | None


@dataclass(frozen=True)
class SliceCurves:
    """Values per scored slice.

    Attributes:
        position_mm: of the thin slices along the slice axis.
        thick_position_mm: of the thick slices.
        rmse_body_hu: method -> RMSE in the body.
        noise_hu: method or "truth" -> noise in soft tissue; empty without enough tissue.
        squares: method -> sum of squared errors, HU^2; `squares_body`: in the body alone.
        voxels: voxels that those sum over; `voxels_body`.
    """

    position_mm: tuple[float, ...]
    thick_position_mm: tuple[float, ...]
    rmse_body_hu: dict[str, Curve]
    noise_hu: dict[str, Curve]
    squares: dict[str, tuple[float, ...]]
    squares_body: dict[str, tuple[float, ...]]
    voxels: tuple[float, ...]
    voxels_body: tuple[float, ...]


@dataclass(frozen=True)
class NoisePower:
    """Noise power by frequency; power: method or "truth" -> values."""

    frequency_per_mm: tuple[float, ...]
    power: dict[str, Curve]


@dataclass(frozen=True)
class Spectra:
    """Noise power in the slice and along the slice axis; None where there is too little homogeneous tissue."""

    in_plane: NoisePower | None = None
    along_z: NoisePower | None = None


@dataclass(frozen=True)
class Shifts:
    """RMSE of a result that is moved along the slice axis, by method."""

    shift_mm: tuple[float, ...]
    rmse_hu: dict[str, Curve]


@dataclass(frozen=True)
class Coverage:
    """Share of the body's errors inside the predicted interval, by method, for each nominal share."""

    nominal: tuple[float, ...]
    found: dict[str, Curve]


@dataclass(frozen=True)
class SphereCurves:
    """What is left of inserted spheres by diameter, over the truth's, by method."""

    diameter_mm: tuple[float, ...]
    contrast: dict[str, Curve]
    volume: dict[str, Curve]


@dataclass(frozen=True)
class VolumeFiles:
    """Volumes that were kept, relative to the folder of results.json.

    Attributes:
        thick, truth, spread: None where none was kept.
        spread_of: the method that predicts the spread.
        methods: method -> its volume.
    """

    thick: str | None = None
    truth: str | None = None
    spread: str | None = None
    spread_of: str | None = None
    methods: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Every file."""
        return [name for name in (self.thick, self.truth, self.spread, *self.methods.values()) if name]


@dataclass(frozen=True)
class CaseRecord:
    """One case: what it was, its figures, and the curves that plots need.

    Attributes:
        id, title: file-name safe and unique; for people.
        group: the scan or patient: cases of one group are one in every interval and test.
        person: whether it shows a person.
        pixel_mm: (between rows, between columns).
        profile: shape of the slabs; "unknown" for a real pair.
        regions: region -> voxels.
        figures: method -> figure -> value; None where it does not exist.
        intervals: method -> figure -> 95 % interval.
        absent: method -> figure -> why it does not exist.
        harm: where the first model or outside result is worst; None where its volume was not kept.
        tools: method -> how another tool made its result, or why it could not.
        seconds: that the case took.
    """

    id: str
    title: str
    kind: Kind
    group: str
    person: bool
    thick: Slices
    thin: Slices
    pixel_mm: tuple[float, float]
    scored_slices: int
    scored_shape: tuple[int, int, int]
    profile: str
    notes: tuple[str, ...]
    regions: dict[str, int]
    truth: TruthFigures
    floor: NoiseFloor | None
    figures: dict[str, dict[str, float | None]]
    intervals: dict[str, dict[str, Interval]]
    absent: dict[str, dict[str, str]]
    slices: SliceCurves
    spectra: Spectra
    shifts: Shifts
    coverage: Coverage | None
    spheres: SphereCurves | None
    volumes: VolumeFiles
    harm: Harm | None = None
    tools: dict[str, ToolRun] = field(default_factory=dict)
    seconds: float = 0.0

    def figure(self, method: str, name: str) -> float | None:
        """A figure of a method; None where it does not exist."""
        return self.figures.get(method, {}).get(name)


@dataclass(frozen=True)
class Failure:
    """A case that could not be evaluated, and why."""

    case: str
    why: str


@dataclass(frozen=True)
class Results:
    """A whole evaluation.

    Attributes:
        lamella: version that made it.
        settings: of the evaluation, without paths.
        methods: in the order of the tables.
        figures: the catalogue.
        pooled: method -> figure -> mean over the cases.
        gains: per case and pooled.
        paired: differences person by person.
        concordance: method -> what is read off the lungs -> concordance with the truth over people.
    """

    lamella: str
    created: str
    settings: dict[str, Any]
    model: tuple[ModelUsed, ...]
    methods: tuple[Method, ...]
    figures: dict[str, Figure]
    cases: tuple[CaseRecord, ...]
    pooled: dict[str, dict[str, Pooled]]
    gains: tuple[Gain, ...]
    failures: tuple[Failure, ...]
    paired: tuple[Paired, ...] = ()
    concordance: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def labels(self) -> dict[str, str]:
        """Method -> its name for people."""
        return {one.name: one.label for one in self.methods}

    def label(self, method: str) -> str:
        """A method's name for people."""
        return self.labels.get(method, method)

    def of_kind(self, *kinds: MethodKind) -> list[str]:
        """The methods of some kinds, in the order of the tables."""
        return [one.name for one in self.methods if one.kind in kinds]

    def gains_of(self, case: str, method: str, figure: str = GAIN_FIGURE) -> Sequence[Gain]:
        """The gains of a method in a case (`POOLED`: over all cases), one a method it is compared with."""
        return [one for one in self.gains if (one.case, one.method, one.figure) == (case, method, figure)]

    def gain(self, case: str, method: str, against: str) -> Gain | None:
        """The gain of a method over another in a case."""
        return next((one for one in self.gains_of(case, method) if one.against == against), None)

    def pairs_shown(self) -> list[Paired]:
        """Figures person by person of the first model or outside result, against projected cubic if there, else cubic."""
        first = next(iter(self.of_kind("model", "outside")), "")
        for against in ("cubic projected", "cubic"):
            if pairs := [one for one in self.paired if (one.method, one.against) == (first, against)]:
                return pairs
        return []

    def least_gain(self, case: str, method: str) -> Gain | None:
        """The gain over the strongest interpolation: the least of all."""
        return min(self.gains_of(case, method), key=lambda one: one.difference, default=None)
