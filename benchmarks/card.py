"""Put measured figures where they are read: the model's card and the table of the README.

    lamella evaluate configs/evaluate.yaml
    python benchmarks/speed.py --json speed.json
    python benchmarks/card.py results/embedded speed.json

No figure in either place is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml
from targets import gain_over_cubic

from lamella.results.files import read_results
from lamella.results.schema import CaseRecord, Results

ROOT = Path(__file__).parents[1]
CARD = ROOT / "src" / "lamella" / "models" / "embedded" / "model.yaml"
README = ROOT / "README.md"
BEGIN, END = "<!-- FIGURES:", "<!-- END FIGURES -->"


def of_case(results: Results, case: CaseRecord) -> dict[str, Any]:
    """The figures of one case that the card keeps."""
    rows: Any = case.figures
    kept: dict[str, Any] = {
        "case": case.title,
        "target_mm": case.thin.spacing_mm,
        "mean_psnr_4095_gain_over_cubic_db": round(gain_over_cubic(results, case.id, "mean").difference, 2),
        "coverage_of_one_sd_body": share(rows["mean"]["coverage_68"]),
    }
    for region in ("body", "lung", "soft"):
        pair = (rows[name][f"rmse_{region}_hu"] for name in ("cubic", "mean"))
        kept[f"rmse_{region}_hu_cubic_mean"] = [None if value is None else round(value, 1) for value in pair]
    for mode in ("texture", "sample"):
        keys = ("noise_in_plane_ratio", "noise_along_z_ratio", "edge_roughness_ratio")
        kept[mode] = {key: round(rows[mode][key], 2) for key in keys if rows[mode][key] is not None}
        kept[mode]["psnr_below_mean_db"] = round(rows["mean"]["psnr_4095_db"] - rows[mode]["psnr_4095_db"], 2)
    return kept


def share(percent: float | None) -> float | None:
    """Percent as a share."""
    return None if percent is None else round(percent / 100, 3)


def timed_modes(speed: dict[str, Any]) -> dict[str, Any]:
    """The modes that were timed."""
    return {mode: speed[mode] for mode in ("mean", "texture", "sample") if mode in speed}


def metrics(results: Results, speed: dict[str, Any]) -> dict[str, Any]:
    """What the card says under `metrics`."""
    modes = timed_modes(speed)
    return {
        "command": "lamella evaluate configs/evaluate.yaml && python benchmarks/speed.py",
        "never_trained_on": [of_case(results, case) for case in results.cases if case.kind != "phantom"],
        "seconds_55_to_275_slices_of_512": {mode: round(modes[mode]["seconds"]) for mode in modes},
        "peak_gb": {mode: round(modes[mode]["peak_bytes"] / 1e9, 1) for mode in modes},
    }


def table(results: Results, speed: dict[str, Any]) -> str:
    """The README's table: one column a case of a person's scan."""
    cases = [case for case in results.cases if case.kind == "thickened"]
    first = cases[0]
    heads = [f"{c.thick.thickness_mm:g} mm every {c.thick.spacing_mm:g} mm" for c in cases]
    heads[0] = heads[0].replace("mm every", "mm slices every")

    def row(what: str, figure: Any) -> str:
        return f"| {what} | " + " | ".join(figure(case) for case in cases) + " |"

    def pair(key: str) -> Any:
        return lambda case: f"{case.figures['mean'][key]:.1f} ({case.figures['cubic'][key]:.1f})"

    def figures(mode: str, *keys: str) -> Any:
        return lambda case: ", ".join(f"{case.figures[mode][key]:.2f}" for key in keys)

    def gain(case: CaseRecord) -> str:
        found = gain_over_cubic(results, case.id, "mean")
        low, high = found.interval
        return f"{found.difference:+.2f} dB ({low:.2f} to {high:.2f})"

    def below(mode: str) -> Any:
        return lambda c: f"{c.figures[mode]['psnr_4095_db'] - c.figures['mean']['psnr_4095_db']:+.2f} dB"

    def inside(case: CaseRecord) -> str:
        return f"{case.figures['mean']['coverage_68']:.0f} %"

    def foci(case: CaseRecord, method: str) -> str:
        return ", ".join(f"{100 * case.figures[method][f'foci_{key}_rate']:.0f} %" for key in ("fabricated", "erased"))

    noise = ("noise_in_plane_ratio", "noise_along_z_ratio")
    lines = [
        f"| {first.group}, a scan the model has never seen, to its own {first.thin.spacing_mm:g} mm | "
        + " | ".join(heads) + " |",
        "|---" * (len(cases) + 1) + "|",
        row("`mean`: gain in PSNR (range 4095 HU) over cubic interpolation (95 % interval within the scan)", gain),
        row("`mean`: RMSE in the body, HU (cubic)", pair("rmse_body_hu")),
        row("`mean`: RMSE in the lung, HU (cubic)", pair("rmse_lung_hu")),
        row("`mean`: share of errors inside the predicted 68 % interval, body (68 % is right)", inside),
        row("`texture`: PSNR over `mean`", below("texture")),
        row("`texture`: noise in soft tissue over the real thin scan's, in plane, along z", figures("texture", *noise)),
        row("`sample`: the same", figures("sample", *noise)),
        row("`texture`: roughness of steep edges over the truth's", figures("texture", "edge_roughness_ratio")),
        row("`sample`: the same", figures("sample", "edge_roughness_ratio")),
        row("`mean`: small dense foci in the lung invented, lost (cubic)",
            lambda case: f"{foci(case, 'mean')} ({foci(case, 'cubic')})"),
        row("`texture`: the same", lambda case: foci(case, "texture")),
        row("`sample`: the same", lambda case: foci(case, "sample")),
        row("consistency of the written integers, RMSE, HU", figures("mean", "consistency_rmse_hu")),
        "",
        real_pairs(results),
        costs(speed),
    ]  # fmt: skip
    return "\n".join(line if line.startswith("|") else wrapped(line) for line in lines)


def wrapped(line: str) -> str:
    """A paragraph in lines that fit the documents' width."""
    return textwrap.fill(line, 120, break_long_words=False, break_on_hyphens=False)


def real_pairs(results: Results) -> str:
    """One sentence a real pair."""
    told = []
    for case in (one for one in results.cases if one.kind == "pair"):
        mean, cubic = (case.figures[name] for name in ("mean", "cubic"))
        told.append(
            f"Real thick and thin series of one scan ({case.group}), `mean`: RMSE of the whole picture "
            f"{mean['rmse_hu']:.1f} HU, cubic placed by position "
            f"{cubic['rmse_hu']:.1f} HU; best alignment of both at {mean['best_shift_mm']:+.2f} and "
            f"{cubic['best_shift_mm']:+.2f} mm."
        )
    return " ".join(told)


def costs(speed: dict[str, Any]) -> str:
    """Time and memory in a sentence."""
    modes = timed_modes(speed)
    cost = ", ".join(f"`{m}` {modes[m]['seconds']:.0f} s and {modes[m]['peak_bytes'] / 1e9:.1f} GB" for m in modes)
    ratios = " and ".join(f"{speed['over_bspline'][m]:.1f}" for m in modes)
    return (
        "55 x 512 x 512 to 275 x 512 x 512 voxels, DICOM to DICOM on two cores "
        f"([other cores](docs/research/lab-notebook.md#what-settings-are-faster)): {cost}; {ratios} times as "
        "long as SimpleITK's B-spline in the same run. Positions in the files are off by "
        f"{max(modes[m]['off_mm'] for m in modes):.4f} mm at most. `lamella --help` takes {speed['help_seconds']:.2f} s. "
        "Figures: `lamella evaluate configs/evaluate.yaml` and `benchmarks/speed.py`; [all results](docs/results.md)."
    )


def main() -> int:
    """Read both files and write both places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the evaluation")
    parser.add_argument("speed", type=Path, help="what speed.py --json wrote")
    asked = parser.parse_args()
    _, results = read_results(asked.results)
    speed = json.loads(asked.speed.read_text(encoding="utf-8"))
    card = yaml.safe_load(CARD.read_text(encoding="utf-8"))
    card["metrics"] = metrics(results, speed)
    CARD.write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    mark = "<!-- FIGURES: written by benchmarks/card.py -->"
    README.write_text(f"{head}{mark}\n{table(results, speed)}\n{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
