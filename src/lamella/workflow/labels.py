"""What a DICOM result says of its origin."""

from __future__ import annotations

from lamella import __version__
from lamella.dicom.labels import Derivation
from lamella.thinning.model import Provenance
from lamella.thinning.settings import ThinSettings
from lamella.volume import Volume


def derivation(
    source: Volume, volume: Volume, settings: ThinSettings, provenance: Provenance, precision: str, sample: int
) -> Derivation:
    """Origin of one series.

    Args:
        source: thick slices.
        volume: the answer.
        settings: filled in by the model.
        provenance: of this draw.
        precision: of the networks.
        sample: number of the draw from 0.
    """
    thick, thin, mode = source.geometry, volume.geometry, settings.mode
    draw = f", {provenance.draw}" if provenance.draw else ""
    return Derivation(
        description=(
            f"Through-plane super-resolution from {thick.thickness_mm:g} mm slices every {thick.spacing_mm:g} mm to "
            f"{thin.spacing_mm:g} mm by Lamella {__version__}, model {provenance.name}, mode {mode}{draw}. Averaged "
            "over each measured slice the result gives that slice back; detail within a slice is estimated."
        ),
        model_name=provenance.name,
        model_sha256=provenance.sha256,
        model_licence=provenance.licence,
        settings_key=f"{mode}{draw.split(', sample')[0]}, Lamella {__version__}, {precision}, {provenance.card}",
        mode=mode,
        series_label=f"AI thin {thin.spacing_mm:.3g}mm {mode}{f' {sample + 1}' if sample else ''} RESEARCH",
        sample=sample,
    )
