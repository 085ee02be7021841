"""A page with panes and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.report.pack import PageVolume, pack_volumes
from lamella.report.page import assemble, header, view_of, viewer_part, viewer_windows, web_file


def show(folder: Path, panes: list[PageVolume], cursor: NDArray[np.float64], **options: Any) -> Path:
    """Write the page into a folder; `options` are those of the viewer."""
    packed = pack_volumes(panes)
    view = view_of("one", packed, [one.id for one in panes], [float(v) for v in cursor])
    view["options"] |= options
    content = header("T", "", []) + "<main>" + viewer_part([("one", "")], {"one": packed.note}) + "</main>"
    data = {"windows": viewer_windows(), "views": [view]}
    out = folder / "page.html"
    out.write_text(
        assemble(content, data, "T", blocks=packed.blocks, extra_script=web_file("page.js")), encoding="utf-8"
    )
    return out
