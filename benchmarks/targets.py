"""What the figures must reach, and how both are printed. The targets are those the project set before measuring."""

from __future__ import annotations

from dataclasses import dataclass

Figures = dict[str, float | None]

MIN_GAIN_DB = {(5.0, 5.0): 1.3, (3.0, 3.0): 1.0, (5.0, 2.5): 2.0, (5.0, 7.0): 0.8}
"""(thickness, spacing) in mm -> least gain in PSNR of `mean` over the aligned cubic spline."""

MODES = ("mean", "texture", "sample")

COLUMNS = (
    ("PSNR dB", "psnr_4095_db", "{:.2f}"),
    ("inner dB", "psnr_4095_inner_db", "{:.2f}"),
    ("SSIM", "ssim_4095", "{:.4f}"),
    ("body HU", "rmse_body_hu", "{:.1f}"),
    ("lung HU", "rmse_lung_hu", "{:.1f}"),
    ("soft HU", "rmse_soft_hu", "{:.1f}"),
    ("bias HU", "bias_body_hu", "{:+.2f}"),
    ("noise xy", "noise_in_plane_ratio", "{:.2f}"),
    ("noise z", "noise_along_z_ratio", "{:.2f}"),
    ("edges", "edge_ratio", "{:.2f}"),
    ("dz HU/mm", "gradient_error_z", "{:.1f}"),
    ("in 1 sd", "coverage_body", "{:.3f}"),
    ("A x - y", "consistency_rmse_hu", "{:.3f}"),
    ("its mean", "consistency_mean_hu", "{:+.4f}"),
    ("shift mm", "best_shift_mm", "{:+.2f}"),
    ("refined", "refined_shift_mm", "{:+.3f}"),
    ("s", "seconds", "{:.1f}"),
)


@dataclass(frozen=True)
class Target:
    """One line of the verdict: what was measured, on what, the figure, what was demanded."""

    what: str
    where: str
    found: str
    demanded: str
    passed: bool


def targets_of_run(run: dict) -> list[Target]:
    """The targets of one series thickened in one way; figures that do not exist (no lung, mode not run) have none."""
    where, rows = title(run), run["rows"]
    cubic, mean, texture = (rows.get(name, {}) for name in ("cubic", "mean", "texture"))
    judged = []
    if mean:
        least = MIN_GAIN_DB.get((run["thickness_mm"], run["spacing_mm"]), 0.0)
        gain = mean["psnr_4095_db"] - cubic["psnr_4095_db"]
        judged += judge("mean: PSNR over aligned cubic", where, gain, low=least, unit=" dB")
        for region in ("body", "lung"):
            judged += below(f"mean: RMSE in the {region}", where, mean, cubic, f"rmse_{region}_hu")
        covered = mean.get("coverage_body")
        judged += judge("mean: error within 1 predicted sd, body", where, covered, low=0.60, high=0.76)
    for mode, roughest in (("texture", 1.1), ("sample", 1.5)):
        found = rows.get(mode, {})
        for direction, key in (("in plane", "noise_in_plane_ratio"), ("along z", "noise_along_z_ratio")):
            judged += judge(f"{mode}: noise {direction} over the truth's", where, found.get(key), low=0.8, high=1.25)
        judged += judge(f"{mode}: second differences at steep edges", where, found.get("edge_ratio"), high=roughest)
    if texture and mean:
        loss = mean["psnr_4095_db"] - texture["psnr_4095_db"]
        judged += judge("texture: PSNR below mean", where, loss, high=0.5, unit=" dB")
    if run["thickness_mm"] == run["spacing_mm"]:
        for mode in MODES:
            found = rows.get(mode, {})
            judged += judge(f"{mode}: consistency RMSE", where, found.get("consistency_rmse_hu"), high=0.5, unit=" HU")
            bias = found.get("consistency_mean_hu")
            size = None if bias is None else abs(bias)
            judged += judge(f"{mode}: consistency mean error", where, size, high=0.05, unit=" HU")
    return judged


def targets_of_pair(pair: dict) -> list[Target]:
    """The targets of the real pair: better than cubic, and no shift along z that would have been better."""
    cubic, mean = pair["rows"]["cubic"], pair["rows"]["mean"]
    judged = below("real pair, mean: RMSE", "pair", mean, cubic, "rmse_hu")
    for name, row in pair["rows"].items():
        judged += judge(f"real pair, {name}: best shift", "pair", row["best_shift_mm"], low=0.0, high=0.0, unit=" mm")
    return judged


def judge(
    what: str, where: str, value: float | None, low: float | None = None, high: float | None = None, unit: str = ""
) -> list[Target]:
    """One target with bounds; none where the figure does not exist."""
    if value is None:
        return []
    demanded = " and ".join(f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None)
    passed = (low is None or value >= low) and (high is None or value <= high)
    return [Target(what, where, f"{value:.3g}{unit}", demanded + unit, passed)]


def below(what: str, where: str, found: Figures, cubic: Figures, key: str) -> list[Target]:
    """The figure must lie below the cubic spline's."""
    value, limit = found[key], cubic[key]
    if value is None or limit is None:
        return []
    return [Target(what, where, f"{value:.2f} HU", f"< {limit:.2f} HU (cubic)", value < limit)]


def title(run: dict) -> str:
    """Series, thickness and spacing in words."""
    return f"{run['series']}, {run['thickness_mm']:g} mm every {run['spacing_mm']:g} mm"


def print_table(run: dict) -> None:
    """One line a method; columns no method has are left out."""
    rows = run["rows"]
    print(f"\n{title(run) if 'thickness_mm' in run else run['series']}")
    if run.get("truth_noise"):
        noise = run["truth_noise"]
        print(
            f"  {run['thick_slices']} thick, {run['scored_slices']} thin slices of {run['thin_spacing_mm']:g} mm "
            f"scored; noise of the truth in soft tissue {noise['in_plane_hu']:.1f} HU in plane, "
            f"{noise['along_z_hu']:.1f} along z, floor {noise['floor_hu']:.1f} HU"
        )
    columns = [column for column in COLUMNS if any(row.get(column[1]) is not None for row in rows.values())]
    print(f"  {'':16s}" + "".join(f"{head:>10s}" for head, _, _ in columns))
    for name, row in rows.items():
        cells = ("-" if row.get(key) is None else form.format(row[key]) for _, key, form in columns)
        print(f"  {name:16s}" + "".join(f"{cell:>10s}" for cell in cells), flush=True)


def print_targets(judged: list[Target]) -> None:
    """The verdict, one line a target."""
    print()
    for target in judged:
        verdict = "PASS" if target.passed else "FAIL"
        print(f"{verdict}  {target.what:44s} {target.found:>12s}   {target.demanded:30s} {target.where}")
    print(f"{sum(target.passed for target in judged)} of {len(judged)} targets met")
