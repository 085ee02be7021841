"""Put measured figures where they are read: the model's card and the table of the README.

    python benchmarks/quality.py --json quality.json
    python benchmarks/speed.py --json speed.json
    python benchmarks/card.py quality.json speed.json

No figure in either place is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CARD = ROOT / "src" / "lamella" / "models" / "embedded" / "model.yaml"
README = ROOT / "README.md"
BEGIN, END = "<!-- FIGURES:", "<!-- END FIGURES -->"


def of_run(run: dict[str, Any]) -> dict[str, Any]:
    """The figures of one geometry that the card keeps."""
    rows = run["rows"]
    kept: dict[str, Any] = {
        "series": run["series"],
        "thickness_mm": run["thickness_mm"],
        "spacing_mm": run["spacing_mm"],
        "target_mm": round(run["thin_spacing_mm"], 3),
        "mean_psnr_4095_gain_over_cubic_db": round(rows["mean"]["psnr_4095_db"] - rows["cubic"]["psnr_4095_db"], 2),
        "coverage_of_one_sd_body": round(rows["mean"]["coverage_body"], 3),
    }
    for region in ("body", "lung", "soft"):
        pair = (rows[name].get(f"rmse_{region}_hu") for name in ("cubic", "mean"))
        kept[f"rmse_{region}_hu_cubic_mean"] = [None if value is None else round(value, 1) for value in pair]
    for mode in ("texture", "sample"):
        keys = ("noise_in_plane_ratio", "noise_along_z_ratio", "edge_ratio")
        kept[mode] = {key: round(rows[mode][key], 2) for key in keys if rows[mode].get(key) is not None}
        kept[mode]["psnr_below_mean_db"] = round(rows["mean"]["psnr_4095_db"] - rows[mode]["psnr_4095_db"], 2)
    return kept


def timed_modes(speed: dict[str, Any]) -> dict[str, Any]:
    """The modes that were timed."""
    return {mode: speed[mode] for mode in ("mean", "texture", "sample") if mode in speed}


def metrics(quality: dict[str, Any], speed: dict[str, Any]) -> dict[str, Any]:
    """What the card says under `metrics`."""
    pair, modes = quality["pair"]["rows"], timed_modes(speed)
    return {
        "command": "python benchmarks/quality.py && python benchmarks/speed.py",
        "never_trained_on": [of_run(run) for run in quality["runs"]],
        "real_pair_rmse_hu": {name: round(pair[name]["rmse_hu"], 1) for name in ("cubic", "mean")},
        "seconds_55_to_275_slices_of_512": {mode: round(modes[mode]["seconds"]) for mode in modes},
        "peak_gb": {mode: round(modes[mode]["peak_bytes"] / 1e9, 1) for mode in modes},
    }


def table(quality: dict[str, Any], speed: dict[str, Any]) -> str:
    """The README's table: one column a geometry."""
    runs = quality["runs"]
    heads = [f"{run['thickness_mm']:g} mm every {run['spacing_mm']:g}" for run in runs]

    def row(what: str, figure: Any) -> str:
        return f"| {what} | " + " | ".join(figure(run["rows"]) for run in runs) + " |"

    def pair(key: str) -> Any:
        return lambda rows: f"{rows['mean'][key]:.1f} ({rows['cubic'][key]:.1f})"

    def noise(mode: str) -> Any:
        return lambda rows: f"{rows[mode]['noise_in_plane_ratio']:.2f}, {rows[mode]['noise_along_z_ratio']:.2f}"

    def figure(mode: str, key: str, form: str) -> Any:
        return lambda rows: form.format(rows[mode][key])

    def gap(mode: str, other: str) -> Any:
        return lambda rows: f"{rows[mode]['psnr_4095_db'] - rows[other]['psnr_4095_db']:+.2f} dB"

    real, modes = quality["pair"]["rows"], timed_modes(speed)
    cost = ", ".join(f"`{m}` {modes[m]['seconds']:.0f} s and {modes[m]['peak_bytes'] / 1e9:.1f} GB" for m in modes)
    lines = [
        f"| {runs[0]['series']}, a scan the model has never seen, to its own {runs[0]['thin_spacing_mm']:g} mm | "
        + " | ".join(heads) + " |",
        "|---" * (len(runs) + 1) + "|",
        row("`mean`: PSNR (range 4095 HU) over aligned cubic interpolation", gap("mean", "cubic")),
        row("`mean`: RMSE in the body, HU (cubic)", pair("rmse_body_hu")),
        row("`mean`: RMSE in the lung, HU (cubic)", pair("rmse_lung_hu")),
        row("errors within one predicted standard deviation, body", figure("mean", "coverage_body", "{:.0%}")),
        row("`texture`: PSNR over `mean`", gap("texture", "mean")),
        row("`texture`: noise in soft tissue over the real thin scan's, in plane, along z", noise("texture")),
        row("`sample`: the same", noise("sample")),
        row("`texture`: second differences at steep edges over the truth's", figure("texture", "edge_ratio", "{:.2f}")),
        row("`sample`: the same", figure("sample", "edge_ratio", "{:.2f}")),
        row("consistency of the written integers, RMSE, HU", figure("mean", "consistency_rmse_hu", "{:.2f}")),
        "",
        f"Real 5 mm and 1 mm series of one scan: RMSE {real['mean']['rmse_hu']:.1f} HU, aligned cubic "
        f"{real['cubic']['rmse_hu']:.1f} HU; best alignment of both at {real['mean']['best_shift_mm']:g} and "
        f"{real['cubic']['best_shift_mm']:g} mm. 55 x 512 x 512 to 275 x 512 x 512, DICOM to DICOM on two cores: {cost}; "
        f"positions in the files off by {max(modes[m]['off_mm'] for m in modes):.4f} mm at most. `lamella --help`: "
        f"{speed['help_seconds']:.2f} s. Made by `benchmarks/quality.py` and `benchmarks/speed.py`.",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    """Read both JSON files and write both places."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    quality, speed = (json.loads(Path(name).read_text()) for name in sys.argv[1:])
    card = yaml.safe_load(CARD.read_text(encoding="utf-8"))
    card["metrics"] = metrics(quality, speed)
    CARD.write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    mark = "<!-- FIGURES: written by benchmarks/card.py -->"
    README.write_text(f"{head}{mark}\n{table(quality, speed)}\n{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
