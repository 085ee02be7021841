"""What an evaluation found, in plain words: the cards at the head of its page."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.report.markup import Card, number
from lamella.results.compared import Gain
from lamella.results.schema import POOLED, CaseRecord, Results

_REFERENCE = "cubic"
_KEPT_HU = 0.5
"""A measurement that is kept to this much counts as kept (SPEC C1)."""

_WITHIN_ONE_SD = 0.68

_FEWEST_SCANS = 6
"""With five no paired test can reach 0.05."""


def findings(results: Results) -> list[Card]:
    """The cards: what was compared, what was gained, what is kept, how far the spread and the details can be trusted."""
    found = [_compared(results)]
    methods = results.of_kind("model", "outside")
    if methods:
        found += [*_gained(results, methods[0]), *_others(results, methods[1:]), *_kept(results, methods[0])]
        found += [*_sure(results, methods), *_invented(results, methods[0])]
    return found


def caveats(results: Results) -> list[str]:
    """What must be known before the figures are quoted."""
    told = [f"{one.case} was not evaluated: {one.why}" for one in results.failures]
    scans = {case.group for case in results.cases}
    if len(scans) < _FEWEST_SCANS:
        count = "one scan" if len(scans) == 1 else f"{len(scans)} scans"
        told.append(
            f"All figures come from {count}: with fewer than six, nothing can be said of how the next patient fares, and "
            "intervals say how much parts of a scan differ."
        )
    if results.cases and not any(case.person for case in results.cases):
        told.append("No scan of a person is in it: phantoms are easier, or harder, than patients.")
    if any(case.person for case in results.cases):
        told.append("The pictures show scans of persons: treat this page as you treat their images.")
    return told


def _compared(results: Results) -> Card:
    cases = results.cases
    scans = len({case.group for case in cases})
    kinds = sorted({(case.thick.thickness_mm, case.thick.spacing_mm) for case in cases})
    listed = " and ".join(f"{thickness:g} mm every {spacing:g} mm" for thickness, spacing in kinds)
    fine = sorted({round(case.thin.spacing_mm, 2) for case in cases})
    return Card(
        f"{len(cases)} case{'' if len(cases) == 1 else 's'}",
        f"{_count(scans, 'scan')} with known thin slices every {' or '.join(f'{mm:g}' for mm in fine)} mm, restored from "
        f"slices of {listed}, by {_count(len(results.methods), 'method')}.",
    )


def _gain(results: Results, method: str) -> Gain | None:
    return results.gain(POOLED, method, _REFERENCE)


def _gained(results: Results, method: str) -> Iterator[Card]:
    """Gain over cubic interpolation, also where that may be moved first; and over the strongest interpolation."""
    one, least = _gain(results, method), results.least_gain(POOLED, method)
    if one is not None:
        gain, moved = one.difference, one.difference_at_best_shift
        words = (
            f"Errors of {results.label(method)} are {abs(gain):.1f} dB {'below' if gain >= 0 else 'above'} those of "
        )
        words += f"{results.label(_REFERENCE).lower()} interpolation{_of_cases(one)}"
        if moved is not None:
            words += f"; {number(moved, 1, plus=True)} dB when that may first be moved to where it fits best"
        yield Card(f"{number(gain, 1, plus=True)} dB", f"{words}.", "good" if gain > 0 else "warning")
    if least is not None and least.against != _REFERENCE:
        gain = least.difference
        words = f"is what {results.label(method)} gains over the best of the interpolations ({results.label(least.against)})"
        yield Card(f"{number(gain, 1, plus=True)} dB", f"{words}{_of_cases(least)}.", "good" if gain > 0 else "warning")


def _of_cases(gain: Gain) -> str:
    words = f", mean of {gain.cases} cases" if gain.cases > 1 else ""
    if gain.interval:
        low, high = (number(value, 1, plus=True) for value in gain.interval)
        words += f" (95 % interval {low} to {high} dB)"
    return words


def _others(results: Results, methods: list[str]) -> Iterator[Card]:
    """The other answers' gains over cubic interpolation, in one card."""
    found = {method: one for method in methods if (one := _gain(results, method)) is not None}
    gains = {method: one.difference for method, one in found.items()}
    total = len(results.cases)
    if gains:
        low, high = (number(value, 1, plus=True) for value in (min(gains.values()), max(gains.values())))
        listed = ", ".join(
            f"{results.label(method)} {number(value, 1, plus=True)} dB"
            + (f" (in {found[method].cases} of {total} cases)" if found[method].cases < total else "")
            for method, value in gains.items()
        )
        figure = f"{low} dB" if low == high else f"{low} to {high} dB"
        yield Card(
            figure, f"Gains of the other answers over {results.label(_REFERENCE).lower()} interpolation: {listed}."
        )


def _pooled(results: Results, method: str, figure: str) -> float | None:
    entry = results.pooled.get(method, {}).get(figure)
    return None if entry is None else entry.value


def _kept(results: Results, method: str) -> Iterator[Card]:
    value = _pooled(results, method, "consistency_rmse_hu")
    if value is not None:
        yield Card(
            f"{number(value, 2)} HU",
            f"Averaging the slices of {results.label(method)} over each thick slice gives the measured slices back, to this "
            "much (root mean square).",
            "good" if value <= _KEPT_HU else "plain",
        )


def _sure(results: Results, methods: list[str]) -> Iterator[Card]:
    """Coverage of one predicted standard deviation, over the cases that have it."""
    for method in methods:
        shares = [share for case in results.cases if (share := _coverage(case, method)) is not None]
        if shares:
            share = sum(shares) / len(shares)
            judged = (
                "about right"
                if abs(share - _WITHIN_ONE_SD) <= 0.05
                else "too cautious"
                if share > _WITHIN_ONE_SD
                else "too sure"
            )
            yield Card(
                f"{100 * share:.0f} %",
                f"of the errors of {results.label(method)} lie within one predicted standard deviation; 68 % would be "
                f"calibrated, so the model is {judged}.",
                "plain" if judged != "too sure" else "warning",
            )
            return


def _coverage(case: CaseRecord, method: str) -> float | None:
    coverage = case.coverage
    if not coverage or method not in coverage.found or _WITHIN_ONE_SD not in coverage.nominal:
        return None
    return coverage.found[method][coverage.nominal.index(_WITHIN_ONE_SD)]


def _invented(results: Results, method: str) -> Iterator[Card]:
    """Foci that a reader would take for nodules: shown but not there, there but not shown."""
    made, lost = (_pooled(results, method, f"foci_{what}_rate") for what in ("fabricated", "erased"))
    if made is not None and lost is not None:
        yield Card(
            f"{100 * made:.0f} %, {100 * lost:.0f} %",
            f"Of the small dense foci that {results.label(method)} shows in the lungs, {100 * made:.1f} % are not in the "
            f"truth; of those in the truth it lacks {100 * lost:.1f} %{' (means of the cases)' * (len(results.cases) > 1)}.",
        )


def _count(number_of: int, one: str) -> str:
    return f"{number_of} {one}{'' if number_of == 1 else 's'}"
