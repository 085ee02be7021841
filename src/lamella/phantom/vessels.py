"""The phantom's tubes: great vessels, oesophagus, trachea and bronchi; and the painting of the trees."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.phantom.canvas import Canvas, Knots
from lamella.phantom.trees import liver_tree, lung_trees

ARTERY_HU, VEIN_HU, AORTA_HU, CAVA_HU, LIVER_VEIN_HU = 225.0, 190.0, 195.0, 280.0, 150.0
WALL_HU, LUMEN_HU, EMBOLUS_HU, LYMPH_NODE_HU = 10.0, -985.0, 62.0, 55.0


@dataclass(frozen=True, eq=False)
class Tube:
    """A vessel, and the thickness of the wall painted around it."""

    value_hu: float
    knots: Knots
    wall_mm: float = 0.0


# fmt: off
GREAT_VESSELS = (
    Tube(CAVA_HU, ((-27, -14, 112, 8), (-29, -16, 60, 9), (-31, -16, 16, 9.5))),
    Tube(CAVA_HU, ((60, -30, 100, 5.5), (22, -30, 76, 6.5), (-8, -28, 70, 7), (-27, -17, 64, 7.5))),
    Tube(150.0, ((-22, 4, -22, 11), (-24, 12, -60, 11.5), (-22, 18, -130, 11.5))),
    Tube(AORTA_HU, ((4, -16, 6, 12), (-6, -26, 26, 15), (-9, -24, 48, 14.5), (0, -9, 62, 13.5), (13, 10, 61, 12.8),
                    (22, 30, 48, 12.3), (24, 40, 24, 12), (22, 42, -20, 11.6), (15, 39, -80, 11),
                    (8, 36, -140, 10)), 1.2),
    Tube(AORTA_HU, ((-4, -17, 64, 6.5), (-13, -10, 84, 6), (-24, -6, 110, 5.5)), 0.8),
    Tube(AORTA_HU, ((4, -4, 68, 4), (9, 0, 90, 3.8), (13, 0, 120, 3.6)), 0.7),
    Tube(AORTA_HU, ((13, 10, 68, 5), (20, 16, 88, 4.6), (34, 14, 112, 4.4)), 0.8),
    Tube(ARTERY_HU, ((18, -44, 4, 13), (20, -36, 24, 13), (22, -20, 34, 12.5), (32, -4, 36, 10.5),
                     (44, 6, 33, 8)), 0.8),
    Tube(ARTERY_HU, ((22, -20, 33, 12), (4, -10, 29, 10.5), (-18, -6, 27, 10), (-40, 2, 23, 7.5)), 0.8),
    Tube(VEIN_HU, ((-18, 12, 8, 8), (-34, 12, 5, 6.5), (-46, 10, 2, 5.5)), 0.6),
    Tube(VEIN_HU, ((-14, 12, 0, 7), (-30, 18, -8, 6), (-40, 20, -14, 5)), 0.6),
    Tube(VEIN_HU, ((24, 12, 8, 8), (38, 10, 10, 6.5), (48, 6, 12, 5.5)), 0.6),
    Tube(VEIN_HU, ((22, 14, 0, 7), (36, 20, -6, 6), (46, 22, -12, 5)), 0.6),
    Tube(EMBOLUS_HU, ((-12, -7, 28, 2.2), (-24, -4, 26, 3.6), (-33, -1, 24.5, 3.4), (-40, 2, 22, 2.2))),
    Tube(190.0, ((-8, 36, -140, 3), (-7, 37, 20, 3.4), (-12, 40, 36, 3.6), (-22, 22, 42, 3.6), (-28, -8, 40, 3.8))),
    Tube(205.0, ((-6, -30, 12, 1.7), (-20, -42, 10, 1.7), (-30, -48, -8, 1.6), (-26, -48, -30, 1.4),
                 (0, -46, -42, 1.1))),
    Tube(205.0, ((8, -24, 12, 1.9), (22, -42, 8, 1.8), (36, -56, -8, 1.6), (54, -60, -26, 1.3), (66, -50, -42, 0.9))),
)
"""Veins, aorta and its branches, pulmonary trunk, an embolus in the right pulmonary artery, azygos, coronaries."""

OESOPHAGUS = Tube(40.0, ((2, 32, 120, 6.5), (4, 33, 40, 7), (9, 30, -10, 7.5), (16, 26, -45, 8), (34, 10, -66, 9)))
LYMPH_NODES = ((-11, 8, 44, 4.0), (-16, 14, 50, 3.0), (14, 12, 44, 3.2), (4, 26, 24, 4.2), (-2, 28, 16, 3.4),
               (30, -8, 52, 2.6), (-6, -40, 66, 2.4), (26, 26, 34, 3.0), (-24, 22, 30, 3.4))
"""x, y, z and radius in mm."""

AIRWAYS = (
    ((0, 14, 130, 8.6), (0, 15, 100, 8.6), (1, 18, 60, 8.4), (2, 21, 40, 8.8)),
    ((2, 21, 42, 7.5), (-12, 20, 29, 6.8), (-32, 13, 18, 5.6)),
    ((2, 21, 42, 6.8), (18, 20, 29, 6.0), (44, 15, 20, 5.0)),
)
# fmt: on
"""Trachea, right and left main bronchus: rows of x, y, z and inner radius in mm."""


def paint_lung_trees(canvas: Canvas, seed: int) -> None:
    """Paint the branching vessels of lungs and liver, and the airways."""
    arteries, veins, airways = lung_trees(seed)
    canvas.trees([liver_tree(seed)], LIVER_VEIN_HU)
    canvas.trees(veins, VEIN_HU)
    canvas.trees(arteries, ARTERY_HU)
    canvas.trees(airways, WALL_HU, 0.65)
    canvas.trees(airways, LUMEN_HU)


def paint_great_vessels(canvas: Canvas) -> None:
    """Paint the large vessels, lymph nodes, oesophagus, trachea and main bronchi."""
    for x, y, z, radius_mm in LYMPH_NODES:
        canvas.ball((x, y, z), radius_mm, LYMPH_NODE_HU)
    canvas.tube(OESOPHAGUS.knots, OESOPHAGUS.value_hu)
    for tube in GREAT_VESSELS:
        if tube.wall_mm:
            canvas.tube(tube.knots, 48.0, tube.wall_mm)
    for tube in GREAT_VESSELS:
        canvas.tube(tube.knots, tube.value_hu)
    for knots in AIRWAYS:
        canvas.tube(knots, WALL_HU, 1.5)
    for knots in AIRWAYS:
        canvas.tube(knots, LUMEN_HU)
