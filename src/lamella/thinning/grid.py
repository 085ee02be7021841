"""The grid of the thin slices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lamella.errors import RefusedInput, UsageError
from lamella.volume import Geometry

_COARSER_TOLERANCE = 1e-6
_LIKE_COSINE = 2e-4
"""Orientation cosines of the two series of --like may differ by this much: 0.05 mm at 250 mm from the middle."""

_LIKE_TOLERANCE_MM = 0.01
"""How far beyond the thick slices' extent a slice of --like may reach."""


def thin_grid(
    thick: Geometry,
    *,
    spacing_mm: float | None = None,
    slices: int | None = None,
    like: Geometry | None = None,
    thickness_mm: float | None = None,
) -> Geometry:
    """The thin grid: it covers exactly [first centre - S/2, last centre + S/2] of thick slices S apart.

    Args:
        thick: the input's grid, n slices.
        spacing_mm: s; slice i lies at first centre - S/2 + (i + 0.5) s, and there are round(n S / s) of them.
        slices: a count N instead; s = n S / N.
        like: the grid of another series of the same scan: its centres within the covered range. The slices made there are
            as thick as they are apart, whatever the thickness of the other series.
        thickness_mm: of slices that overlap: more than the spacing, at most the thickness of the input. None: the spacing.

    Returns:
        The grid; the in-plane grid is that of `thick`.

    Raises:
        UsageError: see `check_choice`; or slices with gaps between them.
        RefusedInput: the thin slices would be coarser or thicker than the thick ones, or `like` is from elsewhere.
    """
    check_choice(spacing_mm, slices, like, thickness_mm)
    if like is not None:
        return _as_thick(_like(thick, like), thick, thickness_mm)
    extent = thick.shape[0] * thick.spacing_mm
    if slices is not None:
        count, step = slices, extent / slices
    else:
        assert spacing_mm is not None, "one of the three is asked for"
        count, step = round(extent / spacing_mm), spacing_mm
    _refuse_coarser(step, thick)
    return _as_thick(thick.with_slices(count, step, step / 2 - thick.spacing_mm / 2, step), thick, thickness_mm)


def _as_thick(grid: Geometry, thick: Geometry, thickness_mm: float | None) -> Geometry:
    """The same slices, `thickness_mm` thick where that is given."""
    if thickness_mm is None:
        return grid
    if thickness_mm < grid.spacing_mm * (1 - _COARSER_TOLERANCE):
        raise UsageError(
            f"Slices of {thickness_mm:.4g} mm every {grid.spacing_mm:.4g} mm would leave gaps. Give a "
            f"thickness of {grid.spacing_mm:.4g} mm or more, or a smaller spacing."
        )
    if thickness_mm > thick.thickness_mm * (1 + _COARSER_TOLERANCE):
        raise RefusedInput(
            f"The slices asked for are thicker than the input's. Found {thickness_mm:.4g} mm, the input's are "
            f"{thick.thickness_mm:.4g} mm thick. Ask for that or less; lamella degrade averages slices to thicker ones."
        )
    return replace(grid, thickness_mm=thickness_mm)


def check_choice(
    spacing_mm: float | None, slices: int | None, like: object | None, thickness_mm: float | None = None
) -> None:
    """Refuse a senseless choice of slices, before anything is read.

    Raises:
        UsageError: more than one of the first three, or a number that is not positive.
    """
    if sum(choice is not None for choice in (spacing_mm, slices, like)) > 1:
        raise UsageError(
            "A spacing, a number of slices and a series to be like exclude each other. Give one, or none for 1 mm."
        )
    if slices is not None and slices < 1:
        raise UsageError(f"The number of thin slices must be at least 1. Found {slices}.")
    for what, given in (("spacing", spacing_mm), ("thickness", thickness_mm)):
        if given is not None and not 0 < given < math.inf:
            raise UsageError(f"The {what} of the thin slices must be a positive number of mm. Found {given:g}.")


def _refuse_coarser(step: float, thick: Geometry) -> None:
    if step > thick.spacing_mm * (1 + _COARSER_TOLERANCE):
        raise RefusedInput(
            f"The slices asked for are coarser than the input. Found a target spacing of {step:.4g} mm, the input's is "
            f"{thick.spacing_mm:.4g} mm. Ask for {thick.spacing_mm:.4g} mm or less."
        )


def _like(thick: Geometry, like: Geometry) -> Geometry:
    if not np.allclose(thick.axes, like.axes, rtol=0, atol=_LIKE_COSINE):
        raise RefusedInput(
            "like: the two series have different orientations. Expected a series of the same scan in the same plane."
        )
    _refuse_coarser(like.spacing_mm, thick)
    # Both series' centres along the same axis, where the other's image has its middle: their directions may differ a little.
    middle = like.position(0, (like.shape[1] - 1) / 2, (like.shape[2] - 1) / 2)
    centres_mm = float(thick.axes[:, 0] @ middle) + like.spacing_mm * np.arange(like.shape[0])
    low = thick.centres_mm[0] - thick.spacing_mm / 2 - _LIKE_TOLERANCE_MM
    high = thick.centres_mm[-1] + thick.spacing_mm / 2 + _LIKE_TOLERANCE_MM
    half = like.spacing_mm / 2
    inside = np.flatnonzero((centres_mm - half >= low) & (centres_mm + half <= high))
    if not len(inside):
        raise RefusedInput(
            f"like: none of its slices lies within the input. The input covers {low:.2f} to {high:.2f} mm along its "
            f"normal, the other series {centres_mm[0]:.2f} to {centres_mm[-1]:.2f} mm. Are they of the same scan?"
        )
    offset = float(centres_mm[inside[0]] - thick.centres_mm[0])
    return thick.with_slices(len(inside), like.spacing_mm, offset, like.spacing_mm)
