"""A page with panes and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.report.pack import PageVolume, pack_volumes
from lamella.report.page import render_page, view_of, viewer_windows


def content_of(**given: Any) -> dict[str, Any]:
    """What report.html is given, with nothing in it."""
    empty: dict[str, Any] = {"heading": "T", "facts": "", "links": [], "cards": [], "warnings": []}
    return empty | {"warnings_title": "", "choices": [("one", "")], "notes": {}} | given


def viewer_page(panes: list[PageVolume], view: Mapping[str, Any]) -> str:
    """The page of some panes; `view` adds to the options of the viewer."""
    packed = pack_volumes(panes)
    cursor = [float(v) for v in view.get("cursor", (0, 0, 0))]
    shown = view_of("one", packed, [one.id for one in panes], cursor)
    shown["options"] |= {key: value for key, value in view.items() if key != "cursor"}
    data = {"windows": viewer_windows(), "views": [shown]}
    return render_page("report.html", content_of(notes={"one": packed.note}), data, "T", blocks=packed.blocks)


def show(folder: Path, panes: list[PageVolume], cursor: NDArray[np.float64], **options: Any) -> Path:
    """Write the page into a folder; `options` are those of the viewer."""
    out = folder / "page.html"
    out.write_text(viewer_page(panes, {"cursor": cursor, **options}), encoding="utf-8")
    return out
