"""What results.json says of methods beside each other: means over cases, gains, people in pairs."""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True)
class Pooled:
    """Mean of a figure over the cases that have it, with a bootstrap interval over scans."""

    value: float
    interval: Interval | None
    cases: int


@dataclass(frozen=True)
class Gain:
    """What a method gains over another.

    Attributes:
        case: its id, or `POOLED`.
        method, against: the two.
        figure: the figure that is gained.
        difference: in its unit; above 0 where `method` is better.
        interval: 95 %: over slabs of a case, over scans where pooled.
        p: paired test over scans; None where no outcome could reach 0.05.
        cases: how many.
        difference_at_best_shift: the same where `against` may be moved along z first to where it fits best.
    """

    case: str
    method: str
    against: str
    figure: str
    difference: float
    interval: Interval | None
    p: float | None
    cases: int
    difference_at_best_shift: float | None


@dataclass(frozen=True)
class Paired:
    """A figure of one method minus that of another, a person each.

    Attributes:
        figure: which; of figures that are best at 0 the size is compared.
        method, against: the two.
        differences: person -> difference, mean over their cases.
        mean: over the people.
        interval: 95 %, bootstrap over people; None with fewer than six.
        p: paired test over people; None where no outcome could reach 0.05.
    """

    figure: str
    method: str
    against: str
    differences: dict[str, float]
    mean: float
    interval: Interval | None
    p: float | None
