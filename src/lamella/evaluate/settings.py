"""What an evaluation compares, and on what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lamella.errors import UsageError
from lamella.evaluate.thresholds import HarmSettings, TaskSettings
from lamella.phantom.settings import Region
from lamella.phantom.shapes import EDGE_MM
from lamella.physics.slice_operator import Profile
from lamella.thinning.settings import Mode
from lamella.volume import MAX_HU

Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]


@dataclass(frozen=True)
class GeometrySettings:
    """How a thin series is thickened.

    Attributes:
        thickness_mm: width of a thick slice.
        spacing_mm: distance between thick slices.
        profile: shape of the slab; the methods are never told it.
    """

    thickness_mm: float
    spacing_mm: float
    profile: Profile = "box"


@dataclass(frozen=True)
class SeriesCase:
    """A thin series that is thickened, once a geometry; each is a case.

    Attributes:
        path: DICOM folder, ZIP or file, or NIfTI.
        geometries: how it is thickened.
        name: of the scan, shown everywhere; empty for scan-1, scan-2, ..., since names of folders may be those of
            patients. Cases of one name are of one patient.
        slices: [first, last) thin slices used; null for all.
        person: a scan of a person, of which documents show figures but no picture.
        soften_mm: standard deviation of a Gaussian that the thin slices are blurred with in the slice, first of all, as a
            softer kernel would have left them; 0 for none.
        thickness_mm: of the slices, where `path` does not say it.
        strict: refuse a series that lacks parts which its headers promise.
        series_uid: SeriesInstanceUID, where `path` holds several.

    Raises:
        UsageError: a number out of range.
    """

    path: str
    geometries: tuple[GeometrySettings, ...]
    name: str = ""
    slices: tuple[int, int] | None = None
    person: bool = True
    soften_mm: float = 0.0
    thickness_mm: float | None = None
    strict: bool = False
    series_uid: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.soften_mm <= 5.0:
            raise UsageError(f"soften_mm is out of range. Found {self.soften_mm:g}, expected 0 to 5 mm.")


@dataclass(frozen=True)
class PairCase:
    """A real thick and a real thin series of one scan.

    Attributes:
        thick: DICOM folder, ZIP or file, or NIfTI.
        thin: the same of the thin series, which is the truth.
        name: of the scan.
        person, strict: as for a series.
        thick_thickness_mm, thin_thickness_mm: of the slices, where `thick` or `thin` does not say it.
    """

    thick: str
    thin: str
    name: str
    person: bool = True
    thick_thickness_mm: float | None = None
    thin_thickness_mm: float | None = None
    strict: bool = False


@dataclass(frozen=True)
class SplitCases:
    """The prepared cases of one split of a data set (`lamella prepare`).

    Attributes:
        index: folder of the prepared data set.
        split: which of its splits.
        geometries: how the thin series are thickened; empty for the real thick series of each case.
        most: so many cases at most, the first ones; null for all.
        person: as for a series.
    """

    index: str
    split: Literal["train", "validation", "test"] = "test"
    geometries: tuple[GeometrySettings, ...] = ()
    most: int | None = None
    person: bool = True


@dataclass(frozen=True)
class PhantomCase:
    """A phantom chest, head or test object (`lamella.phantom`), thickened once a geometry; needs no data.

    Attributes:
        geometries: how it is thickened.
        name: of the case.
        slices: thin slices of 1 mm.
        rows: rows and columns.
        pixel_mm: distance between them.
        noise_hu: noise in soft tissue.
        seed: of anatomy and noise.
        middle_mm, round_field: where the grid lies, and whether the field of view is a circle, as in `PhantomSettings`.
        region: what it shows.
        edge_mm, highest_hu: sharpness, and what is cut off above, as in `PhantomSettings`.
    """

    geometries: tuple[GeometrySettings, ...]
    name: str = "phantom"
    slices: int = 120
    rows: int = 256
    pixel_mm: float = 1.4
    noise_hu: float = 15.0
    seed: int = 0
    middle_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    round_field: bool = False
    region: Region = "chest"
    edge_mm: float = EDGE_MM
    highest_hu: float = MAX_HU


@dataclass(frozen=True)
class ModelMethods:
    """The answers of one model.

    Attributes:
        model: name or folder.
        modes: which answers; a latent diffusion model has no texture.
        steps: of a sample; null for the model's own number.
        samples: samples whose mean is scored besides, where `sample` is among the modes; 1 for none. A latent diffusion
            model's mean averages as many.
        seed: of the samples.
        name: before the names of its answers where there are several models; empty for `model`.
        project: false for a latent diffusion model's answer without the last projection onto the measurement.

    Raises:
        UsageError: a number below 1.
    """

    model: str = "embedded"
    modes: tuple[Mode, ...] = ("mean", "texture", "sample")
    steps: int | None = None
    samples: int = 2
    seed: int = 0
    name: str = ""
    project: bool = True

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 1) or self.samples < 1:
            raise UsageError(f"models: steps and samples must be at least 1. Found {self.steps} and {self.samples}.")


@dataclass(frozen=True)
class OutsideResult:
    """A result of another tool, for one case.

    Attributes:
        name: of the method.
        case: id of the case, as in results.json.
        path: DICOM folder, ZIP or file, or NIfTI, on the whole in-plane grid of the scan or on that of the case, whose thick
            slices lie in `volumes/CASE/thick.nii.gz`; empty where a `record` says what the tool could not do.
        thickness_mm, strict: as for a series.
        record: JSON file that says how it was made (`lamella.results.evidence.ToolRun`).
    """

    name: str
    case: str
    path: str
    thickness_mm: float | None = None
    strict: bool = False
    record: str | None = None


@dataclass(frozen=True)
class EvaluationSettings:
    """A whole evaluation.

    Attributes:
        out: folder of the results; the same command goes on there, method by method.
        series: thin series to thicken.
        pairs: real pairs.
        phantoms: phantoms.
        splits: prepared cases.
        baselines: interpolations to compare with, each aligned by position.
        projected: also each of them projected onto the measurement.
        models: models to judge.
        outside: results of other tools.
        outside_folder: folder of further ones: CASE/METHOD.nii.gz (or .nii, .zip, or a folder of DICOM), and
            CASE/METHOD.json, the `record`; null for none.
        crop_to_body: leave out the air beside the body, for every method alike: padding flatters, and costs time.
        spheres: insert spheres into the lungs and measure what is left of them.
        tasks: thresholds of the figures of tasks; null to leave them out.
        harm: where the first model or outside result is furthest from the truth, and from cubic interpolation, is looked up
            in the volumes that are kept; null to leave it out.
        volumes: methods whose volumes are kept for the report's viewer; null for cubic, mean and texture, where they are
            among the methods.
        workers: figures of so many methods are computed at once.
        seed: of the bootstrap.

    Raises:
        UsageError: fewer than one worker.
    """

    out: str
    series: tuple[SeriesCase, ...] = ()
    pairs: tuple[PairCase, ...] = ()
    phantoms: tuple[PhantomCase, ...] = ()
    splits: tuple[SplitCases, ...] = ()
    baselines: tuple[Interpolation, ...] = ("nearest", "linear", "cubic", "lanczos")
    projected: bool = True
    models: tuple[ModelMethods, ...] = field(default_factory=lambda: (ModelMethods(),))
    outside: tuple[OutsideResult, ...] = ()
    outside_folder: str | None = None
    crop_to_body: bool = True
    spheres: bool = True
    tasks: TaskSettings | None = field(default_factory=TaskSettings)
    harm: HarmSettings | None = field(default_factory=HarmSettings)
    volumes: tuple[str, ...] | None = None
    workers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"workers must be at least 1. Found {self.workers}.")
