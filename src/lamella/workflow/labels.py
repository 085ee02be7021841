"""What a DICOM result of `lamella thin` says of its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamella import __version__

if TYPE_CHECKING:
    from lamella.cli.job import Job
    from lamella.dicom.labels import Derivation
    from lamella.latent_model import LatentModel
    from lamella.model import Model
    from lamella.volume import Volume


def derivation(
    job: Job, source: Volume, volume: Volume, model: Model | LatentModel, precision: str, sample: int
) -> Derivation:
    """Origin of one series: `volume` is the answer, `sample` its number from 0, `precision` that of the networks."""
    from lamella.dicom.labels import Derivation

    thick, thin = source.geometry, volume.geometry
    drawn = _drawn(job, model, sample)
    return Derivation(
        description=(
            f"Through-plane super-resolution from {thick.thickness_mm:g} mm slices every {thick.spacing_mm:g} mm to "
            f"{thin.spacing_mm:g} mm by Lamella {__version__}, model {model.name}, mode {job.mode}{drawn}. Averaged "
            "over each measured slice the result gives that slice back; detail within a slice is estimated."
        ),
        model_name=model.name,
        model_sha256=model.sha256,
        model_licence=model.licence,
        settings_key=f"{job.mode}{drawn.split(', sample')[0]}, Lamella {__version__}, {precision}, {_card(model)}",
        mode=job.mode,
        series_label=f"AI thin {thin.spacing_mm:.3g}mm {job.mode}{f' {sample + 1}' if sample else ''} RESEARCH",
        sample=sample,
    )


def _card(model: Model | LatentModel) -> str:
    """What a model's card says beside the weights and voxels depend on: two such answers are not one image."""
    from lamella.model import LATENT

    return f"{model.settings} {model.codec.settings if model.kind == LATENT else model.calibration}"  # type: ignore[union-attr]


def _drawn(job: Job, model: Model | LatentModel, sample: int) -> str:
    """What an answer depends on besides model and mode; the embedded mean on nothing, so its UID does not either."""
    from lamella.model import LATENT

    if job.mode != "mean":
        return f", {job.steps} steps, seed {job.seed}, sample {sample + 1} of {job.samples}"
    return f", {job.steps} steps, seed {job.seed}, average of {job.samples} draws" if model.kind == LATENT else ""
