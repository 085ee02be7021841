"""Validation figures of a training run, of all its starts: a Markdown table, and a record for the documents.

python benchmarks/curve.py RUN [--keep docs/codec-curve.json] [--rows 20]
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path


def validations(run: Path) -> list[dict[str, float]]:
    """Figures by the step they were measured at, rising; the later start's where two measured the same step."""
    found: dict[int, dict[str, float]] = {}
    for file in sorted(run.glob("curves-from-*/metrics.csv")):
        with file.open(newline="") as text:
            for row in csv.DictReader(text):
                figures = {k.removeprefix("val/"): float(v) for k, v in row.items() if k.startswith("val/") and v}
                if figures:
                    found[int(row["step"]) + 1] = figures
    return [{"step": step, **found[step]} for step in sorted(found)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rows", type=int, default=20)
    asked = parser.parse_args()
    found = validations(asked.run)
    if not found:
        raise SystemExit(f"{asked.run} holds no validation yet (curves-from-*/metrics.csv).")
    if asked.keep:
        asked.keep.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    names = list(found[-1])
    print(f"| {' | '.join(names)} |\n" + "|---" * len(names) + "|")
    for row in found[-1 :: -max(1, len(found) // asked.rows)][::-1]:
        print("| " + " | ".join(f"{row[name]:.4g}" if name in row else "-" for name in names) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
