"""One worker: a model that is loaded once, and the series that are given to it, the next read while one is computed."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lamella.batch.bids import place_result
from lamella.batch.case import case_key, earlier_case, is_whole, read_case, reason_of, thin_case
from lamella.batch.making import Finished, Making
from lamella.batch.record import CaseRecord
from lamella.errors import LamellaError
from lamella.models.registry import load_model
from lamella.selection.series import FoundSeries
from lamella.volume import Volume
from lamella.workflow.study import filled_in


class Worker:
    """Loads the model when it is made.

    Raises:
        LamellaError: no such model, or one that cannot do what is asked; see `filled_in` and `runtime`.
    """

    def __init__(self, making: Making) -> None:
        from lamella.machine.runtime import runtime

        self.making = making
        self.model = load_model(making.thin.model)
        settings = filled_in(making.thin.settings, self.model)
        runtime(settings.device, settings.precision)
        self._reader = ThreadPoolExecutor(1)
        self._ahead: deque[tuple[FoundSeries, Future[CaseRecord | Volume]]] = deque()

    def add(self, found: FoundSeries) -> None:
        """Begin to read a series, after those that were added before."""
        self._ahead.append((found, self._reader.submit(self._prepare, found)))

    def finish(self) -> Finished:
        """Make the case that was added first."""
        found, future = self._ahead.popleft()
        finished = self._finish(found, future)
        if self.making.bids and found.derived and finished.record.state == "done":
            try:
                place_result(self.making.out, self.making.out / found.id, found.derived)
            except (LamellaError, OSError) as error:
                return Finished(dataclasses.replace(finished.record, state="failed", reason=reason_of(error)))
        return finished

    def _finish(self, found: FoundSeries, future: Future[CaseRecord | Volume]) -> Finished:
        making = self.making
        if not future.exception() and isinstance(ended := future.result(), CaseRecord):
            return Finished(ended, kept=ended.state == "done")
        return Finished(
            thin_case(
                found,
                making.out / found.id,
                making.thin,
                self.model,
                _volume(future),
                spread=making.spread,
                page=making.page,
                preview=making.preview,
            )
        )

    def close(self) -> None:
        """Read nothing more."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, found: FoundSeries) -> CaseRecord | Volume:
        """The volume of a series; or its record, where nothing is left to do."""
        making, folder = self.making, self.making.out / found.id
        key, earlier = case_key(found, making.thin, self.model), earlier_case(folder)
        if earlier is not None and earlier.key == key:
            if is_whole(folder, earlier, spread=making.spread, page=making.page, preview=making.preview):
                return dataclasses.replace(earlier, folder=folder.name)
        elif earlier is not None and not making.overwrite:
            reason = (
                "Its folder holds a result of other settings, another version or other content. Give --overwrite to replace "
                "it, or choose another OUT."
            )
            return CaseRecord(found.id, found.study, "", "failed", reason, key=key)
        return read_case(found, making.thin)


def _volume(future: Future[CaseRecord | Volume]) -> Callable[[], Volume]:
    def volume() -> Volume:
        read = future.result()
        assert isinstance(read, Volume), "records are answered before"
        return read

    return volume
