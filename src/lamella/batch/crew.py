"""Workers that share a list of series, wherever they run. One that dies is replaced, and what it had in hand is tried again.

What a dead worker had in hand is tried again each case alone, so that it is known whose fault it was: a case that a worker
dies of twice, the second time with nothing else in hand, has failed, and the batch goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

from lamella.batch.making import Finished
from lamella.batch.record import CaseRecord
from lamella.errors import LamellaError
from lamella.selection.series import FoundSeries

_IN_HAND = 2
"""Series of a worker at a time: one is computed while the next is read, so memory holds two."""

_STARTS = 3
"""So many workers in a row that die before they have a model end the batch."""


@dataclass(frozen=True)
class Died:
    """A worker's end, and why."""

    reason: str


@dataclass
class Hand:
    """A worker as its owner sees it.

    Attributes:
        in_hand: the series that were given to it, the one that it computes first.
        ready: it has its model.
        alone: what it has in hand is a suspect, and gets no company.
    """

    in_hand: deque[FoundSeries] = field(default_factory=deque)
    ready: bool = False
    alone: bool = False


H = TypeVar("H", bound=Hand)
Event = Finished | Died | LamellaError | None
"""What a worker tells: a case that ended, its death, that it cannot begin, or (None) that it is ready."""


class Crew(ABC, Generic[H]):
    """All workers of a batch."""

    hands: list[H]

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def start(self, number: int) -> H:
        """Begin a worker."""

    @abstractmethod
    def give(self, hand: H, found: FoundSeries) -> None:
        """Hand a series to a worker, which reads it at once and computes it after those before."""

    @abstractmethod
    def events(self) -> list[tuple[int, Event]]:
        """Wait until workers tell something, and return it with their numbers."""

    def ready(self) -> None:
        """Wait until a worker has its model; others may still be on their way.

        Raises:
            LamellaError: no such model, or one that cannot do what is asked.
        """
        for _ in range(_STARTS * len(self.hands)):
            for number, event in self.events():
                if isinstance(event, LamellaError):
                    raise event
                self.hands[number].ready = event is None
                if isinstance(event, Died):
                    died, self.hands[number] = event, self.start(number)
            if any(one.ready for one in self.hands):
                return
        raise LamellaError(f"No worker could begin. {died.reason}")

    def run(self, series: Sequence[FoundSeries]) -> Iterator[Finished]:
        """Make cases, and yield each when it ends.

        Raises:
            LamellaError: a worker that takes the place of a dead one cannot begin.
        """
        todo, suspects = deque(series), deque[FoundSeries]()
        failed_starts = 0
        while True:
            for one in self.hands:
                if one.ready:
                    self._fill(one, todo, suspects)
            if not todo and not suspects and not any(one.in_hand for one in self.hands):
                return
            for number, event in self.events():
                one = self.hands[number]
                if isinstance(event, LamellaError):
                    raise event
                if isinstance(event, Finished):
                    one.in_hand.popleft()
                    yield event
                elif event is None:
                    one.ready, failed_starts = True, 0
                else:
                    failed_starts += not one.ready
                    if failed_starts == _STARTS:
                        raise LamellaError(f"Workers could not begin, {_STARTS} times. {event.reason}")
                    if one.alone and one.in_hand:
                        lost = one.in_hand.popleft()
                        yield Finished(CaseRecord(lost.id, lost.study, "", "failed", event.reason))
                    suspects.extend(one.in_hand)
                    self.hands[number] = self.start(number)

    def _fill(self, one: H, todo: deque[FoundSeries], suspects: deque[FoundSeries]) -> None:
        """Give a worker a suspect alone, or as many others as it may have."""
        if not one.in_hand:
            one.alone = bool(suspects)
        source, most = (suspects, 1) if one.alone else (todo, _IN_HAND)
        while source and len(one.in_hand) < most:
            found = source.popleft()
            one.in_hand.append(found)
            self.give(one, found)
