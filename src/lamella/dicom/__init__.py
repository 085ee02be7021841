"""DICOM files <-> `Volume`.

Reading goes `archive` (where bytes come from) -> `parse` (bytes to headers) -> `series` and `header` (one record a
slice) -> `checks` (order, geometry, refusals) -> `decode` (pixels to HU) -> `read` (the doors).
"""

from __future__ import annotations

from lamella.dicom.read import list_series, read_series

__all__ = ["list_series", "read_series"]
