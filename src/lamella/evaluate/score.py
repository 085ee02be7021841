"""Every figure of one answer to one case."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.cases import Case
from lamella.evaluate.flat import flat_figures
from lamella.evaluate.methods import Answer
from lamella.evaluate.reference import Reference, foci_of
from lamella.evaluate.sheet import Sheet
from lamella.evaluate.tasks import task_figures
from lamella.metrics.catalogue import BANDS, NOMINAL, REGIONS
from lamella.thinning.consistency import consistency
from lamella.volume import Volume

SSIM_PLANES = {"axial": None, "coronal": 32, "sagittal": 32}
"""Planes on which SSIM is averaged: all axial ones, since evenly spaced ones would beat with the thick slices."""

SHIFT_STRIDE_PX = 5
"""The best shift is looked for on every so many rows and columns."""


def score(answer: Answer, reference: Reference) -> Sheet:
    """Every figure of an answer on the scored slices.

    Args:
        answer: on the scored slices (`crop_answer`).
        reference: of its case.

    Raises:
        NonFiniteError: the answer holds a value that is not finite.
    """
    sheet = Sheet()
    _errors(sheet, answer, reference.case)
    _similarity(sheet, answer, reference.case)
    _structure(sheet, answer, reference)
    _noise(sheet, answer, reference)
    _densitometry(sheet, answer, reference.case)
    _foci(sheet, answer, reference)
    _calibration(sheet, answer, reference)
    _placement(sheet, answer, reference.case)
    _floor(sheet, answer, reference)
    task_figures(sheet, answer, reference.tasks)
    sheet.figures["seconds"] = answer.seconds
    return sheet


def _floor(sheet: Sheet, answer: Answer, reference: Reference) -> None:
    def figures() -> dict[str, float]:
        if reference.floor is None:
            raise LamellaError("The scan has too little homogeneous soft tissue to measure its noise.")
        # In the tissue whose noise the floor is made of; in all of it, what slabs blur in from beyond would count too.
        rmse = metrics.rmse_hu(answer.hu, reference.case.scan.volume.hu, reference.tissue, answer.method)
        ratio = rmse / reference.floor[0]
        drawn = {"drawn_floor_db": 20 * math.log10(ratio / math.sqrt(2))} if ratio else {}
        return {"floor_soft_ratio": ratio, **drawn}

    sheet.add(figures, "floor_soft_ratio", "drawn_floor_db")


def _errors(sheet: Sheet, answer: Answer, case: Case) -> None:
    hu, truth, masks, name = answer.hu, case.scan.volume.hu, case.scan.masks, answer.method
    sheet.measure("rmse_hu", metrics.rmse_hu, hu, truth, case=name)
    for region in REGIONS:
        sheet.measure(f"rmse_{region}_hu", metrics.rmse_hu, hu, truth, masks[region], name)
    sheet.measure("mae_body_hu", metrics.mae_hu, hu, truth, masks["body"], name)
    for span, window in metrics.PSNR_WINDOWS_HU.items():
        sheet.measure(f"psnr_{span}_db", metrics.psnr_windowed, hu, truth, *window, case=name)
    full = metrics.PSNR_WINDOWS_HU[4095]
    sheet.measure("psnr_body_db", metrics.psnr_windowed, hu, truth, *full, masks["body"], name)
    # Per slice, for gains and intervals; clipped as PSNR is, so that a gain is the difference of two PSNRs.
    error = np.clip(hu, *full).astype(np.float32) - np.clip(truth, *full)
    sheet.curves["squares"] = np.einsum("zyx,zyx->z", error, error, dtype=np.float64).tolist()
    error[~masks["body"]] = 0.0
    sheet.curves["squares_body"] = np.einsum("zyx,zyx->z", error, error, dtype=np.float64).tolist()


def _similarity(sheet: Sheet, answer: Answer, case: Case) -> None:
    low, high = metrics.PSNR_WINDOWS_HU[3072]
    for plane, planes in SSIM_PLANES.items():
        which = {"plane": plane, "planes": planes, "black_hu": low}
        truth = case.scan.volume.hu
        sheet.measure(f"ssim_{plane}", metrics.ssim, answer.hu, truth, high - low, answer.method, **which)


def _structure(sheet: Sheet, answer: Answer, reference: Reference) -> None:
    scan = reference.case.scan
    images = answer.hu, scan.volume.hu, scan.volume.geometry.spacing_mm, scan.masks["body"], answer.method
    sheet.measure("gradient_error_z", metrics.gradient_error_z, *images)

    def width() -> dict[str, float]:
        if reference.edges is None:
            raise LamellaError("The truth has no strong edge along the slice axis.")
        edges, true_mm = reference.edges
        width_mm = metrics.edge_width_z_mm(answer.hu, edges, scan.volume.geometry.spacing_mm, answer.method)
        return {"edge_width_z_ratio": width_mm / true_mm}

    sheet.add(width, "edge_width_z_ratio")
    sheet.measure("edge_roughness_ratio", metrics.edge_second_difference_ratio, *images)

    def flat() -> dict[str, float]:
        if reference.flat is None:
            raise LamellaError("Flat material is measured in phantoms and test objects alone, and here is none.")
        return flat_figures(answer, reference.flat)

    sheet.add(flat, "flat_sd_ratio", "overshoot_percent")


def _noise_of_truth(reference: Reference) -> tuple[float, float]:
    """Noise in plane and along z, HU; an error where there is too little tissue for any figure inside it."""
    if reference.noise is None:
        raise LamellaError(
            f"The scan has too little homogeneous soft tissue. Found {np.count_nonzero(reference.tissue)} voxels, "
            f"expected at least {metrics.LEAST_NOISE_VOXELS}."
        )
    return reference.noise


def _noise(sheet: Sheet, answer: Answer, reference: Reference) -> None:
    case, hu, name = reference.case, answer.hu, answer.method
    soft, geometry = reference.tissue, case.scan.volume.geometry

    def levels() -> dict[str, float]:
        in_plane, along_z = _noise_of_truth(reference)
        return {
            "noise_in_plane_ratio": metrics.noise_sd_in_plane(hu, soft, name) / in_plane,
            "noise_along_z_ratio": metrics.noise_sd_along_z(hu, soft, name) / along_z,
        }

    sheet.add(levels, "noise_in_plane_ratio", "noise_along_z_ratio")
    for where in ("in_plane", "along_z"):
        keys = [f"noise_power_{where}_{band}" for band, _, _ in BANDS]
        sheet.add(partial(_bands, sheet, where, answer, reference), *keys)

    def stripes() -> dict[str, float]:
        per_slice = metrics.noise_per_slice(hu, soft, name)
        sheet.curves["noise_hu"] = per_slice.tolist()
        period_mm = case.thick.geometry.spacing_mm
        return {"stripe_ratio": metrics.stripe_power_ratio(per_slice, geometry.spacing_mm, period_mm)}

    sheet.add(stripes, "stripe_ratio")


def _bands(sheet: Sheet, where: str, answer: Answer, reference: Reference) -> dict[str, float]:
    """Noise power over the truth's in each band; the spectrum itself goes to the curves."""
    truth, scan = reference.spectra[where], reference.case.scan
    if truth is None:
        raise LamellaError("The scan has too little homogeneous soft tissue to measure a spectrum.")
    soft, geometry = reference.tissue, scan.volume.geometry
    if where == "in_plane":
        found = metrics.noise_power_in_plane(answer.hu, soft, geometry.pixel_mm, answer.method)
    else:
        found = metrics.noise_power_along_z(answer.hu, soft, geometry.spacing_mm, answer.method)
    sheet.curves[f"power_{where}"] = found.power.tolist()
    return {f"noise_power_{where}_{band}": metrics.band_ratio(found, truth, low, high) for band, low, high in BANDS}


def _densitometry(sheet: Sheet, answer: Answer, case: Case) -> None:
    hu, truth, masks, name = answer.hu, case.scan.volume.hu, case.scan.masks, answer.method
    for region in ("body", "lung", "soft", "bone"):
        sheet.measure(f"bias_{region}_hu", metrics.mean_error_hu, hu, truth, masks[region], name)

    def lung() -> dict[str, float]:
        where, mild = case.scan.lung_region, metrics.MILD_EMPHYSEMA_HU
        return {
            "laa_950_bias_pp": metrics.laa_percent(hu, where) - metrics.laa_percent(truth, where),
            "laa_910_bias_pp": metrics.laa_percent(hu, where, mild) - metrics.laa_percent(truth, where, mild),
            "perc15_bias_hu": metrics.perc15_hu(hu, where) - metrics.perc15_hu(truth, where),
            "histogram_distance_lung_hu": metrics.histogram_distance_hu(hu, truth, where),
        }

    sheet.add(lung, "laa_950_bias_pp", "laa_910_bias_pp", "perc15_bias_hu", "histogram_distance_lung_hu")


def _foci(sheet: Sheet, answer: Answer, reference: Reference) -> None:
    scan, truth = reference.case.scan, reference.foci

    def foci() -> dict[str, float]:
        if truth is None:
            raise LamellaError("The scan has no lung.")
        found = metrics.compare_foci(foci_of(answer.hu, reference.case, reference.asked, answer.method), truth)
        geometry = scan.volume.geometry
        litres = np.count_nonzero(scan.lung_region) * geometry.spacing_mm * math.prod(geometry.pixel_mm) / 1e6
        rates = {
            "foci_fabricated_rate": found.fabricated_rate,
            "foci_fabricated_per_litre": found.fabricated / litres,
            "foci_erased_rate": found.erased_rate,
        }
        return {name: rate for name, rate in rates.items() if rate is not None}

    sheet.add(foci, "foci_fabricated_rate", "foci_fabricated_per_litre", "foci_erased_rate")


def _calibration(sheet: Sheet, answer: Answer, reference: Reference) -> None:
    keys, scan = [f"coverage_{round(100 * share)}" for share in NOMINAL], reference.case.scan
    if answer.spread is None:
        every = [*keys, "spread_soft_ratio", "error_detection_auc"]
        sheet.figures |= dict.fromkeys(every)
        sheet.absent |= dict.fromkeys(every, "The method predicts no spread.")
        return
    error, spread, body = answer.hu.astype(np.float32) - scan.volume.hu, answer.spread, scan.masks["body"]

    def coverage() -> dict[str, float]:
        found = metrics.coverage_curve(error, spread, NOMINAL, body)
        return {key: 100 * inside for key, inside in zip(keys, found, strict=True)}

    def in_tissue() -> dict[str, float]:
        _noise_of_truth(reference)
        true = metrics.rmse_hu(answer.hu, scan.volume.hu, reference.tissue, answer.method)
        return {"spread_soft_ratio": float(np.sqrt(np.square(spread[reference.tissue]).mean(dtype=np.float64))) / true}

    sheet.add(coverage, *keys)
    sheet.add(in_tissue, "spread_soft_ratio")
    sheet.measure("error_detection_auc", metrics.error_detection_auc, error, spread, body)


def _placement(sheet: Sheet, answer: Answer, case: Case) -> None:
    """Where the answer lies: what the thick slices say, and the shift at which it fits best."""
    geometry = case.scan.volume.geometry
    sheet.add(
        lambda: consistency(Volume(answer.hu, geometry), case.thick), "consistency_rmse_hu", "consistency_mean_hu"
    )

    def shift() -> dict[str, float]:
        _, scores = metrics.best_shift_mm(
            answer.hu, case.scan.volume.hu, geometry.centres_mm, case=answer.method, stride=SHIFT_STRIDE_PX
        )
        sheet.curves["shift_rmse_hu"] = list(scores.values())
        return {"best_shift_mm": metrics.refined_shift_mm(scores), "best_shift_rmse_hu": min(scores.values())}

    sheet.add(shift, "best_shift_mm", "best_shift_rmse_hu")
