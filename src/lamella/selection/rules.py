"""Which of the series that were found are thinned. YAML fills `SeriesRules`; every decision has a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lamella.errors import UsageError
from lamella.selection.series import FoundSeries

Verdict = Literal["chosen", "passed over", "refused"]

_PATTERNS = ("kernel", "description", "body_part", "image_type")


@dataclass(frozen=True)
class SeriesRules:
    """Which series are thinned: those that every rule allows. A rule that is null allows everything.

    Attributes:
        modality: values of Modality that are allowed. NIfTI states no modality, and is allowed.
        thickness_mm: smallest and largest slice thickness that are allowed.
        spacing_mm: smallest and largest distance between slices that are allowed.
        kernel: regular expression that must occur in ConvolutionKernel. Here and below, upper and lower case are the same.
        description: regular expression that must occur in SeriesDescription. "^(?!.*angio)" forbids the word angio.
        body_part: regular expression that must occur in BodyPartExamined.
        image_type: regular expression that must occur in ImageType, with its values joined by a backslash.
        take: of the allowed series of each study, the "thickest" (of several, that with most slices), or "all".

    Raises:
        UsageError: no regular expression, or a range whose end lies before its start.
    """

    modality: tuple[str, ...] | None = ("CT",)
    thickness_mm: tuple[float, float] | None = (2.0, 12.0)
    spacing_mm: tuple[float, float] | None = None
    kernel: str | None = None
    description: str | None = None
    body_part: str | None = None
    image_type: str | None = None
    take: Literal["thickest", "all"] = "thickest"

    def __post_init__(self) -> None:
        for name in _PATTERNS:
            try:
                re.compile(getattr(self, name) or "")
            except re.error as error:
                raise UsageError(f"The rule {name} is no regular expression ({error}). Correct it.") from None
        for name in ("thickness_mm", "spacing_mm"):
            low, high = getattr(self, name) or (0.0, 0.0)
            if not 0 <= low <= high:
                raise UsageError(f"The rule {name} needs [least, greatest]. Found [{low:g}, {high:g}].")


@dataclass(frozen=True)
class Decision:
    """What becomes of a series.

    Attributes:
        series: which.
        verdict: "chosen"; "passed over", because a rule says so; or "refused": the rules want it, and it cannot be thinned.
        reason: why not; empty for a chosen one. It holds UIDs, numbers and names of rules, nothing that a person wrote.
    """

    series: FoundSeries
    verdict: Verdict
    reason: str = ""


def choose(found: Sequence[FoundSeries], rules: SeriesRules) -> list[Decision]:
    """Decide on every series.

    A series that a model made up, at least in part, and one that Lamella wrote are never chosen: a result would be thinned
    again and again where results return to where studies come from. With `take: thickest`, a series that cannot be read is
    refused only where nothing else of its study is chosen; a study has many that are no stack, such as timing scans.
    """
    decisions = [_alone(one, rules) for one in found]
    if rules.take == "all":
        return decisions
    best: dict[str, FoundSeries] = {}
    for one in decisions:
        if one.verdict == "chosen":
            rival = best.setdefault(one.series.study, one.series)
            best[one.series.study] = max(rival, one.series, key=_rank)
    return [_beside(one, best.get(one.series.study)) for one in decisions]


def _rank(series: FoundSeries) -> tuple[float, int, str]:
    return series.summary.thickness_mm or 0.0, series.summary.slices, series.id


def _beside(one: Decision, best: FoundSeries | None) -> Decision:
    """A decision, where `best` is the series that is taken of the study."""
    if best is None or one.series is best or one.verdict == "passed over":
        return one
    reason = f"take: {best.id} is taken of this study"
    return Decision(
        one.series, "passed over", f"{reason}; this one would be refused: {one.reason}" if one.reason else reason
    )


def _alone(one: FoundSeries, rules: SeriesRules) -> Decision:
    summary = one.summary
    if summary.synthetic:
        return Decision(one, "passed over", "synthetic: a model made it, at least in part")
    if one.own:
        return Decision(one, "passed over", "own output: Lamella wrote it")
    if not summary.modality and not one.ct:
        return Decision(one, "refused", summary.refusal or "nothing in it can be read")
    if rules.modality is not None and summary.modality and summary.modality not in rules.modality:
        return Decision(one, "passed over", f"modality: {summary.modality}, not {' or '.join(rules.modality)}")
    if not one.ct:
        return Decision(one, "passed over", "no CT slices")
    values = (summary.kernel, one.description, one.body_part, one.image_type)
    for name, value in zip(_PATTERNS, values, strict=True):
        pattern = getattr(rules, name)
        if pattern is not None and re.search(pattern, value, re.IGNORECASE) is None:
            return Decision(one, "passed over", f"{name}: the rule does not match")
    if summary.refusal is not None:
        return Decision(one, "refused", summary.refusal)
    for name, size in (("thickness_mm", summary.thickness_mm), ("spacing_mm", summary.spacing_mm)):
        limits = getattr(rules, name)
        if limits is not None and size is not None and not limits[0] <= size <= limits[1]:
            return Decision(one, "passed over", f"{name}: {size:.4g}, not {limits[0]:g} to {limits[1]:g}")
    return Decision(one, "chosen")
