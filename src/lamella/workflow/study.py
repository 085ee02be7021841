"""One volume to thin: what is decided before, and the labels and the report of the answer. Reads and writes no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lamella import RESEARCH_ONLY, __version__
from lamella.dicom.labels import Derivation
from lamella.dicom.write import series_uid
from lamella.errors import UsageError
from lamella.machine.memory import peak_rss_bytes
from lamella.physics.overlap import abutting_grid, overlaps
from lamella.physics.repair import Bridged, Repair
from lamella.sources.like import like_warnings
from lamella.thinning.coverage import ScanFacts, outside, scan_facts
from lamella.thinning.model import Plan, ThinModel
from lamella.thinning.result import Thinned
from lamella.thinning.settings import ThinSettings
from lamella.volume import Geometry, Volume
from lamella.workflow.suits import asked_spacing, suitable_grid


@dataclass(frozen=True, eq=False)
class Study:
    """A volume that can be thinned: nothing of it will be refused any more.

    Attributes:
        source: thick slices.
        model: what makes them thin.
        grid: the slices that will be made.
        settings: see `filled_in`.
        plan: the pieces that the volume is cut into.
        asked: which slices were asked for, as the report says it.
        facts: what was measured of the source.
        warnings: what the reader assumed, what is unusual about the two grids, and what lies outside the model's training.
    """

    source: Volume
    model: ThinModel
    grid: Geometry
    settings: ThinSettings
    plan: Plan
    asked: Mapping[str, Any]
    facts: ScanFacts
    warnings: tuple[str, ...]

    @property
    def repair(self) -> Repair | None:
        """What was repaired while the source was read."""
        return getattr(self.source.header, "repair", None)

    @property
    def bridged(self) -> Bridged | None:
        """The thick slice that was never measured, where there is one."""
        return None if self.repair is None else self.repair.bridged

    def derivation(self, precision: str, sample: int = 0) -> Derivation:
        """What the labels of one draw say.

        Args:
            precision: of the networks.
            sample: number of the draw from 0.
        """
        thick, thin, mode = self.source.geometry, self.grid, self.settings.mode
        made = self.model.provenance(self.settings, sample)
        draw = f", {made.draw}" if made.draw else ""
        which, done, key = "measured", "", ""
        if self.repair is not None:
            which, done = self.repair.kept, f" Source {self.repair.note}."
            key = f", repaired {self.repair.kind}"
        number = f" {sample + 1}" if mode != "mean" and self.settings.sample_count > 1 else ""
        to, label, kept = (
            f"{thin.spacing_mm:g} mm",
            f"{thin.spacing_mm:.3g}mm",
            f"Averaged over each {which} slice the result gives",
        )
        if overlaps(thin):
            to, label = f"{thin.thickness_mm:g} mm every {to}", f"{thin.thickness_mm:.3g}mm every {label}"
            kept = f"Averaged over each {which} slice, the abutting slices that these average give"
        return Derivation(
            description=(
                f"Through-plane super-resolution from {thick.thickness_mm:g} mm slices every {thick.spacing_mm:g} mm to "
                f"{to} by Lamella {__version__}, model {made.name}, mode {mode}{draw}. {kept} "
                f"that slice back; detail within a slice is estimated.{done}"
            ),
            model_name=made.name,
            model_sha256=made.sha256,
            model_licence=made.licence,
            settings_key=f"{mode}{draw.split(', sample')[0]}, Lamella {__version__}, {precision}, {made.card}{key}",
            mode=mode,
            series_label=f"AI thin {label} {mode}{number} RESEARCH",
            sample=sample,
        )


@dataclass(frozen=True, eq=False, repr=False)
class StudyResult(Thinned):
    """The result of `lamella.thin`, with everything that is needed to write it.

    Attributes:
        source: the thick slices.
        derivations: what the labels say, one for each of `samples`.
    """

    source: Volume
    derivations: tuple[Derivation, ...]

    def __repr__(self) -> str:
        several = f", {len(self.samples)} samples" if len(self.samples) > 1 else ""
        return f"StudyResult({self.volume}{several}, mode {self.report['settings']['mode']})"


def filled_in(settings: ThinSettings, model: ThinModel) -> ThinSettings:
    """The settings with the model's own numbers.

    Raises:
        UsageError: the model cannot do what is asked.
    """
    if settings.steps is not None and settings.mode in set(model.modes) - set(model.sampled_modes):
        raise UsageError(
            f"The mean is not sampled in steps. Found {settings.steps} steps, which need mode texture or sample."
        )
    return model.defaults(settings)


def plan_study(
    source: Volume,
    model: ThinModel,
    settings: ThinSettings,
    *,
    spacing_mm: float | None = None,
    slices: int | None = None,
    like: Volume | None = None,
    output_thickness_mm: float | None = None,
) -> Study:
    """Decide everything.

    Args:
        source: thick slices.
        model: what makes them thin.
        settings: see `filled_in`.
        spacing_mm, slices, like: which slices, as for `thin_grid`; 1 mm if nothing is asked for.
        output_thickness_mm: of slices that overlap; None for the spacing.

    Raises:
        UsageError, RefusedInput: see `suitable_grid` and `ThinModel.plan`.
    """
    thick, other = source.geometry, None if like is None else like.geometry
    grid, unusual = suitable_grid(thick, model.limits, spacing_mm, slices, other, output_thickness_mm)
    unlike = like_warnings(source, like, grid)
    asked = {
        "spacing_mm": asked_spacing(spacing_mm, slices, other),
        "slices": slices,
        "like": like is not None,
        "output_thickness_mm": output_thickness_mm,
    }
    plan = model.plan(thick, abutting_grid(grid), settings)
    facts = scan_facts(source)
    warnings = (*getattr(source.header, "notes", ()), *unusual, *outside(facts, model.limits.covered), *unlike)
    study = Study(source, model, grid, settings, plan, asked, facts, warnings)
    if study.bridged is not None and thick.shape != (study.bridged.slices, *study.bridged.error_hu.shape):
        raise UsageError(
            "The volume was cut out of one with a bridged slice, and which slice that is can no longer be told. Found "
            f"{thick.shape} voxels. Thin the whole volume."
        )
    return study


def study_result(study: Study, done: Thinned) -> StudyResult:
    """Label what `lamella.thinning.thin.thin` made, and complete its report."""
    derivations = tuple(study.derivation(done.report["precision"], number) for number in range(len(done.samples)))
    uid = series_uid(study.source, study.grid, derivations[0])
    report = {
        **done.report,
        "settings": {**done.report["settings"], **study.asked},
        "source": {"series_uid": getattr(study.source.header, "series_uid", None), **_numbers(study.source.geometry)},
        "output": {"series_uid": uid, **_numbers(study.grid)},
        "scan": asdict(study.facts),
        "repair": None if study.repair is None else study.repair.report,
        "peak_rss_bytes": peak_rss_bytes(),
        "warnings": list(dict.fromkeys([*study.warnings, *done.report["warnings"]])),
        "notice": RESEARCH_ONLY,
    }
    return StudyResult(done.volume, done.samples, done.spread, report, study.source, derivations)


def _numbers(geometry: Geometry) -> dict[str, Any]:
    return {
        "slices": geometry.shape[0],
        "spacing_mm": round(geometry.spacing_mm, 6),
        "thickness_mm": round(geometry.thickness_mm, 6),
    }
