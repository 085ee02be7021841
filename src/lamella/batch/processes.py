"""Workers as processes of this machine, each with its share of processors and memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any

from lamella.batch.crew import Crew, Died, Event, Hand
from lamella.batch.making import Making
from lamella.errors import LamellaError
from lamella.machine.cores import usable_cores
from lamella.machine.memory import available_bytes
from lamella.selection.series import FoundSeries

_SIGKILL = 9  # Windows does not name it

_END_S = 30.0
"""How long a worker may take to clean up before it is killed."""


def threads_of(workers: int, asked: int | None = None) -> int:
    """Threads for each of several workers: what is asked, else OMP_NUM_THREADS, else an equal share of the processors."""
    if asked is not None:
        return asked
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdigit() and int(stated) > 0 else max(1, usable_cores() // workers)


@dataclass
class _Process(Hand):
    """A worker process, and the connection to it."""

    process: Any = None
    connection: Any = None


class Processes(Crew[_Process]):
    """Workers that are started at once, so that they load while the series are looked for. Use in a `with` block.

    Args:
        making: how every case is made.
        workers: how many.
        threads: of each; see `threads_of`.
    """

    def __init__(self, making: Making, workers: int, threads: int | None = None) -> None:
        self._making, self._threads = making, threads_of(workers, threads)
        self._share_bytes = available_bytes() // workers
        self.hands = [self.start(number) for number in range(workers)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.hands:
            if kind is not None:
                one.process.terminate()
            with suppress(OSError):
                one.connection.send(None)
        for one in self.hands:
            one.process.join(_END_S)
            one.process.kill()
            one.process.join()

    def start(self, number: int) -> _Process:
        """Begin a worker."""
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
        return _Process(process=process, connection=here)

    def give(self, hand: _Process, found: FoundSeries) -> None:
        """Hand a series to a worker; one that has died says so among the events."""
        with suppress(OSError):
            hand.connection.send(found)

    def events(self) -> list[tuple[int, Event]]:
        """Wait until workers tell something."""
        told: list[Any] = wait([one.connection for one in self.hands])
        return [(number, _event(one)) for number, one in enumerate(self.hands) if one.connection in told]


def _event(one: _Process) -> Event:
    try:
        event: Event = one.connection.recv()
        return event
    except (EOFError, OSError):
        one.process.join()
        return Died(_died(one.process.exitcode))


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
