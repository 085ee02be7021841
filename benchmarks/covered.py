"""Write into a model's card what its training covered, measured on the training series themselves.

    python benchmarks/covered.py configs/embedded.yaml [CARD]

Noise, sharpness in the plane, pixels and body parts of every series in the config, as `lamella train` writes them at its end.
CARD is the shipped model's if none is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from lamella.files.config import load, plain
from lamella.models.shipped import find_model
from lamella.networks.folder import CARD, EMBEDDED
from lamella.train.covered import covered_by_series
from lamella.train.settings import EmbeddedRun


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="of the training")
    parser.add_argument("card", type=Path, nargs="?", default=find_model(EMBEDDED) / CARD)
    asked = parser.parse_args()
    data = load(EmbeddedRun, asked.config, ()).data
    covered = plain(covered_by_series(Path(data.folder), (*data.series, *data.flow_series)))
    card = yaml.safe_load(asked.card.read_text(encoding="utf-8"))
    card["limits"]["covered"] = covered
    asked.card.write_text(yaml.safe_dump(card, sort_keys=False, width=120), encoding="utf-8")
    print(yaml.safe_dump(covered, sort_keys=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
