"""Workers as processes of this machine. One that dies is replaced, and what it had in hand is tried again, each case alone.

A case that a worker dies of twice, the second time with nothing else in hand, has failed; the batch goes on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self

from lamella.batch.making import Finished, Making
from lamella.batch.record import CaseRecord
from lamella.errors import LamellaError
from lamella.machine.cores import usable_cores
from lamella.machine.memory import available_bytes
from lamella.selection.series import FoundSeries

_IN_HAND = 2
"""Series of a worker at a time: one is computed while the next is read, so memory holds two."""

_STARTS = 3
"""So many workers in a row that die before they have a model end the batch."""

_SIGKILL = 9  # Windows does not name it

_END_S = 30.0
"""How long a worker may take to clean up before it is killed."""


def threads_of(workers: int) -> int:
    """Threads for each of several workers: OMP_NUM_THREADS where it is set, else an equal share of the processors."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdigit() and int(stated) > 0 else max(1, usable_cores() // workers)


class Processes:
    """Workers that are started at once, so that they load while the series are looked for. Use in a `with` block.

    Args:
        making: how every case is made.
        workers: how many; each gets its share of processors and memory.
    """

    def __init__(self, making: Making, workers: int) -> None:
        self._making, self._threads = making, threads_of(workers)
        self._share_bytes = available_bytes() // workers
        self._all = [_Process(self._start(number), number) for number in range(workers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._all:
            if kind is not None:
                one.process.terminate()
            with suppress(OSError):
                one.connection.send(None)
        for one in self._all:
            one.process.join(_END_S)
            one.process.kill()
            one.process.join()

    def ready(self) -> None:
        """Wait until every worker has its model.

        Raises:
            LamellaError: no such model, or one that cannot do what is asked.
        """
        for one in self._all:
            try:
                one.receive()
            except (EOFError, OSError):
                one.process.join()
                raise LamellaError(f"A worker could not begin. {_died(one.process.exitcode)}") from None

    def run(self, series: Sequence[FoundSeries]) -> Iterator[Finished]:
        """Make cases, and yield each when it ends.

        Raises:
            LamellaError: a worker that takes the place of a dead one cannot begin.
        """
        todo, suspects = deque(series), deque[FoundSeries]()
        failed_starts = 0
        while True:
            for one in self._all:
                one.fill(todo, suspects)
            if not any(one.in_hand for one in self._all):
                return
            wait([one.connection for one in self._all if one.in_hand])
            for number, one in enumerate(self._all):
                if not one.in_hand:
                    continue
                try:
                    while one.connection.poll():
                        if (finished := one.receive()) is not None:
                            yield finished
                except (EOFError, OSError):
                    one.process.join()
                    died = _died(one.process.exitcode)
                    failed_starts = 0 if one.ready else failed_starts + 1
                    if failed_starts == _STARTS:
                        raise LamellaError(f"A worker could not begin, {_STARTS} times. {died}") from None
                    if one.ready and one.alone:
                        (lost,) = one.in_hand
                        yield Finished(CaseRecord(lost.id, lost.study, "", "failed", died))
                    else:
                        (suspects if one.ready or one.alone else todo).extend(one.in_hand)
                    self._all[number] = _Process(self._start(number), number)

    def _start(self, number: int) -> tuple[Any, Connection]:
        context = get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=_serve, args=(there, self._making, number, self._threads, self._share_bytes), daemon=True
        )
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(self._threads)  # read when the libraries are loaded
        try:
            process.start()
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before
        there.close()
        return process, here


class _Process:
    """One worker as its owner sees it."""

    def __init__(self, started: tuple[Any, Connection], number: int) -> None:
        self.process, self.connection = started
        self.in_hand: deque[FoundSeries] = deque()
        self.ready = self.alone = False

    def fill(self, todo: deque[FoundSeries], suspects: deque[FoundSeries]) -> None:
        """Give it work: a suspect alone, or as many others as it may have."""
        if not self.in_hand:
            self.alone = bool(suspects)
        elif self.alone:
            return
        while len(self.in_hand) < (1 if self.alone else _IN_HAND) and (suspects if self.alone else todo):
            found = (suspects if self.alone else todo).popleft()
            self.in_hand.append(found)
            with suppress(OSError):  # it died: receiving says so
                self.connection.send(found)

    def receive(self) -> Finished | None:
        message = self.connection.recv()
        if isinstance(message, LamellaError):
            raise message
        self.ready = True
        if not isinstance(message, Finished):
            return None
        self.in_hand.popleft()
        return message


def _died(exit_code: int | None) -> str:
    if exit_code == -_SIGKILL:
        return "Its worker was killed (SIGKILL), most likely for want of memory. Use fewer --workers, or --memory-gb."
    cause = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
    return f"Its worker ended ({cause}). Try the series alone with lamella thin --debug."


def _serve(connection: Connection, making: Making, number: int, threads: int, share_bytes: int) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the owner too, who then sends SIGTERM
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_owner, daemon=True).start()
    try:
        import torch

        from lamella.batch.worker import Worker
        from lamella.machine.memory import share_memory

        torch.set_num_threads(threads)
        if torch.cuda.device_count() > 1 and making.thin.settings.device in ("auto", "cuda"):
            torch.cuda.set_device(number % torch.cuda.device_count())
        share_memory(share_bytes)
        try:
            worker = Worker(making)
        except LamellaError as error:
            connection.send(error)
            return
        connection.send(None)
        inbox: SimpleQueue[bool] = SimpleQueue()
        threading.Thread(target=_receive, args=(connection, worker.add, inbox), daemon=True).start()
        while inbox.get():
            connection.send(worker.finish())
    except (KeyboardInterrupt, EOFError, OSError):  # the owner has ended, or wants an end
        os._exit(1)  # without waiting for the reader


def _receive(connection: Connection, add: Callable[[FoundSeries], None], inbox: SimpleQueue[bool]) -> None:
    """Take work while a case is computed, so that it is read ahead; False is the end."""
    with suppress(EOFError, OSError):
        while (found := connection.recv()) is not None:
            add(found)
            inbox.put(True)
    inbox.put(False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_owner() -> None:
    owner = parent_process()
    assert owner is not None, "a worker has an owner"
    owner.join()
    os.kill(os.getpid(), signal.SIGTERM)
