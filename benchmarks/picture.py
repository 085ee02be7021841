"""Draw the picture of the README: a phantom chest, two answers, and the truth beside them.

    lamella demo demo
    python benchmarks/picture.py demo docs/preview.png

The truth is the phantom itself, before it was averaged to thick slices. No scan of a person is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import lamella
from lamella.metrics import aligned_cubic
from lamella.report.preview import PreviewPanel, render_preview
from lamella.volume import Volume


def panels(thick: Volume, truth: Volume) -> list[PreviewPanel]:
    """The columns from left to right: measured, interpolated, two answers, truth."""
    mean, texture = (lamella.thin(thick, like=truth, mode=mode).volume for mode in ("mean", "texture"))
    grid = mean.geometry
    cubic = aligned_cubic(thick.hu, thick.geometry.centres_mm, grid.centres_mm)
    return [
        PreviewPanel("Thick, as measured", thick, as_slices=True),
        PreviewPanel("Cubic interpolation", dataclasses.replace(mean, hu=cubic)),
        PreviewPanel("Lamella mean", mean, accent=True),
        PreviewPanel("Lamella texture", texture, accent=True),
        PreviewPanel("Truth", truth),
    ]


def main() -> int:
    """Read the two series of `lamella demo` and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder that `lamella demo` wrote")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    asked = parser.parse_args()
    thick, truth = (lamella.read_series(asked.demo / f"phantom-{name}") for name in ("5mm", "1mm"))
    render_preview(asked.picture, panels(thick, truth), title="phantom chest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
