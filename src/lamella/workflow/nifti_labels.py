"""What a NIfTI result carries, as DICOM results do: geometry that its header lacks, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamella import RESEARCH_ONLY, __version__
from lamella.nifti.sidecar import NiftiLabel

if TYPE_CHECKING:
    from lamella.dicom.labels import Derivation
    from lamella.volume import Volume

_DESCRIP_BYTES = 79


def nifti_label(
    volumes: Sequence[Volume],
    source: Volume,
    derivations: Sequence[Derivation],
    settings: Mapping[str, Any] | None = None,
    quantity: str = "HU",
) -> NiftiLabel:
    """The label of a result. Of the source's headers nothing is copied but that it is synthetic.

    Args:
        volumes: the result; more than one are samples.
        source: what it came from.
        derivations: what the labels of DICOM series would say, one a sample; empty where nothing is known.
        settings: of the run.
        quantity: what the values are.
    """
    geometry = volumes[0].geometry
    facts: dict[str, Any] = {
        "Modality": "CT",
        "SliceThickness": round(geometry.thickness_mm, 6),
        "SpacingBetweenSlices": round(geometry.spacing_mm, 6),
    }
    first = derivations[0] if derivations else None
    synthetic = _is_synthetic(source) or (first is not None and first.synthetic)
    if synthetic:
        facts["SyntheticData"] = "YES"
    if first is not None:
        several = len(volumes) > 1
        facts["SeriesDescription"] = [one.series_label for one in derivations] if several else first.series_label
        facts["DerivationDescription"] = [one.description for one in derivations] if several else first.description
    facts["ImageComments"] = f"{'AI-generated' if synthetic else 'Computed'} image. {RESEARCH_ONLY}"
    facts["Lamella"] = {
        "version": __version__,
        "quantity": quantity,
        "synthetic": synthetic,
        "research_use_only": True,
        "mode": first.mode if first else None,
        "samples": len(volumes),
        "settings": dict(settings or {}),
        "model": {"name": first.model_name, "sha256": first.model_sha256, "licence": first.model_licence}
        if first and first.model_name
        else None,
    }
    return NiftiLabel(_descrip(first.mode if first else "", synthetic), facts)


def _descrip(mode: str, synthetic: bool) -> str:
    """At most 79 bytes of ASCII; a long version is cut, never what follows it."""
    rest = f"{f' {mode}' if mode else ''}{' synthetic' if synthetic else ''}, research use only"
    return f"Lamella {__version__[: _DESCRIP_BYTES - len('Lamella ') - len(rest)]}{rest}"


def _is_synthetic(source: Volume) -> bool:
    from lamella.dicom.elements import text_of

    slices = getattr(source.header, "slices", ())
    return bool(getattr(source.header, "synthetic", False)) or any(
        text_of(one, "SyntheticData") == "YES" for one in slices
    )
