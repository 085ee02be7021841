"""The figures of one answer, each with a value or the reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics.catalogue import FIGURES


@dataclass
class Sheet:
    """The figures of one answer, and why others do not exist.

    Attributes:
        figures: name in the catalogue -> value; None where it does not exist.
        absent: name -> reason.
        curves: what plots need: per slice, per frequency, per shift.
    """

    figures: dict[str, float | None] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)

    def add(self, compute: Callable[[], Mapping[str, float]], *names: str) -> None:
        """Add figures; where they cannot be measured (no lung, too little tissue) note why.

        NaN in a prediction stays an error (SPEC A19); the metrics raise it.
        """
        try:
            found = compute()
        except NonFiniteError:
            raise
        except (LamellaError, ZeroDivisionError) as error:
            why = str(error) if isinstance(error, LamellaError) else "The truth's own figure is 0."
            self.absent |= dict.fromkeys(names, why)
            found = {}
        for name in names:
            assert name in FIGURES, f"{name} is not in the catalogue"
            known = name in found and math.isfinite(found[name])
            self.figures[name] = float(found[name]) if known else None
            if not known:
                self.absent.setdefault(name, "There is nothing of the kind in this case to measure it on.")

    def measure(self, name: str, metric: Callable[..., float], *arguments: Any, **options: Any) -> None:
        """Add one figure: what a metric makes of its arguments."""
        self.add(lambda: {name: metric(*arguments, **options)}, name)
