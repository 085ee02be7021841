"""DICOM files <-> `Volume`.

Reading: `archive` (folder, ZIP or file) -> `parse` (bytes to headers) -> `series` and `header` (one record a slice) ->
`checks` (order, geometry, refusals) -> `decode` (pixels to HU) -> `read` (the entry points).
Writing: `write` (positions, pixels) with `tags` (what is copied) and `labels` (provenance) -> `verify` (read back).
"""

from __future__ import annotations

from lamella.dicom.labels import Derivation
from lamella.dicom.read import list_series, read_series
from lamella.dicom.verify import verify_written
from lamella.dicom.write import write_series

__all__ = ["Derivation", "list_series", "read_series", "verify_written", "write_series"]
