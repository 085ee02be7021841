"""Padding is air outside the scanned field; inside the body it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tests.dicom_builder import body_hu, build_enhanced, build_series

from lamella.dicom import read_series
from lamella.errors import RefusedInput
from lamella.sources.source import inspect_source

# SPEC C6


def in_the_field(hu, outside):
    """The same with `outside` beyond a circle, as reconstructions have it."""
    side = hu.shape[1]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.where(np.hypot(y, x) > side * 0.49, outside, hu).astype(np.int16)


@pytest.mark.parametrize("value", [-2000, -1024, 0, 3000])
def test_padding_outside_the_field_is_air(tmp_path, value):
    hu = body_hu()
    hu[hu == value] += 1
    tags = {"PixelPaddingValue": ("SS", value)}
    build_series(tmp_path, in_the_field(hu, value), signed=True, bits=16, tags=tags)
    np.testing.assert_array_equal(read_series(tmp_path).hu, in_the_field(hu, -1024))


@pytest.mark.parametrize(("value", "limit"), [(40, None), (-2000, None), (0, 60), (60, 0)])
def test_padding_in_tissue_is_refused_with_place_and_count(tmp_path, value, limit):
    hu = body_hu()
    inside = hu[2, 14:17, 9:12]
    hu[(hu > -400) & (hu < 200)] = 150
    inside[...] = min(value, 40) if limit is None else 50
    hu[2, 14, 9] = value if limit is None else 55
    if limit is None:
        inside[...] = value
    tags = {"PixelPaddingValue": ("SS", value)}
    if limit is not None:
        tags["PixelPaddingRangeLimit"] = ("SS", limit)
    build_series(tmp_path, in_the_field(hu, -2000), signed=True, bits=16, tags=tags)
    with pytest.raises(RefusedInput, match=r"inside the body in 0002.dcm: 9 pixels, the first in row 15, column 10"):
        read_series(tmp_path)
    assert "inside the body" in inspect_source(tmp_path).refusal


def test_a_range_of_padding_that_takes_in_lung_and_tissue(tmp_path):
    tags = {"PixelPaddingValue": ("SS", -3000), "PixelPaddingRangeLimit": ("SS", 100)}
    build_series(tmp_path, in_the_field(body_hu(), -2000), signed=True, bits=16, tags=tags)
    with pytest.raises(RefusedInput, match=r"inside the body in 0000.dcm: .* Found PixelPaddingValue -3000\\100"):
        read_series(tmp_path)


def test_padding_that_is_air_is_air_in_the_lung_too(tmp_path):
    """Unsigned series: padding 0 is -1024 HU, which noise in air reaches by itself."""
    hu = body_hu()
    hu[1, 24, 12:36:3] = -1024
    hu[2, 13, 9] = -1024  # gas in tissue
    build_series(tmp_path, in_the_field(hu, -1024), tags={"PixelPaddingValue": ("US", 0)})
    np.testing.assert_array_equal(read_series(tmp_path).hu, in_the_field(hu, -1024))


def test_padding_inside_an_enhanced_file_names_the_frame(tmp_path):
    hu = body_hu()
    hu[(hu > -400) & (hu < 200)] = 150
    hu[3, 14, 9] = 20
    build_enhanced(tmp_path / "e.dcm", hu, tags={"PixelPaddingValue": ("US", 1044)})
    with pytest.raises(RefusedInput, match=r"inside the body in e.dcm frame 4: 1 pixels"):
        read_series(tmp_path)
