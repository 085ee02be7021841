"""Rounds that cannot be handled for now, so that none of them keeps the others waiting, or is tried again at once."""

from __future__ import annotations

import time

from lamella.node.states import Round

_ASIDE_S = 10.0


class Aside:
    """Remembers rounds for a while. One thread uses it."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def put(self, one: Round) -> None:
        """Leave a round alone for some seconds."""
        self._until[one.name] = time.monotonic() + _ASIDE_S

    def holds(self, one: Round) -> bool:
        """Whether a round is to be left alone."""
        if self._until.get(one.name, 0.0) > time.monotonic():
            return True
        self._until.pop(one.name, None)
        return False
