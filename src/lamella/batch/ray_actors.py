"""Workers as actors of a Ray cluster: each holds a model, and what a lost one had in hand another does again.

Sources and OUT must be at the same places on every machine. Nothing but names of files, settings and records goes between
machines: voxels are read and written where they are computed.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lamella.batch.crew import Crew, Died, Event, Hand
from lamella.batch.making import Finished, Making
from lamella.batch.processes import threads_of
from lamella.errors import LamellaError, UsageError
from lamella.selection.series import FoundSeries

_ANSWER_S = 10.0
"""How long the machine of a cluster may take to answer."""

_OBJECTS_BYTES = 100 * 2**20
"""Of a cluster that is started here: no volume goes through Ray."""


@dataclass
class _Actor(Hand):
    """An actor, and what it is doing: the reference to the answer that it will give next."""

    actor: Any = None
    answer: Any = None


class RayActors(Crew[_Actor]):
    """Workers that are started at once. Use in a `with` block.

    Args:
        making: how every case is made.
        workers: how many.
        address: of a cluster, as for `ray.init`; "local" starts one on this machine.
        gpus: of each worker; a fraction shares one.

    Raises:
        UsageError: no such cluster, or no machine in it has the processors or the GPUs of one worker.
    """

    def __init__(self, making: Making, workers: int, address: str, gpus: float = 0.0) -> None:
        self._ray = _connected(address)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        most = max(int(node.get("CPU", 0)) for node in nodes)
        cores = sum(int(node.get("CPU", 0)) for node in nodes)
        self._threads = max(1, min(most, cores // workers))
        if not any(node.get("CPU", 0) >= self._threads and node.get("GPU", 0) >= gpus for node in nodes):
            self._ray.shutdown()
            raise UsageError(
                f"No machine of the cluster has {self._threads} processors and {gpus:g} GPUs for one worker. Give --gpus less."
            )
        self._share = max(1, most // self._threads)
        # Paths go to other machines, where the working folder is another.
        model = making.thin.model
        key = making.thin.deidentify_key
        thin = dataclasses.replace(
            making.thin,
            model=os.path.abspath(model) if Path(model).is_dir() else model,
            deidentify_key=None if key is None else Path(os.path.abspath(key)),
        )
        self._making = dataclasses.replace(making, out=Path(os.path.abspath(making.out)), thin=thin)
        self._kind = self._ray.remote(num_cpus=self._threads, num_gpus=gpus, max_restarts=0)(RemoteWorker)
        self.hands = []
        self.hands += [self.start(number) for number in range(workers)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.hands:
            self._ray.kill(one.actor)
        self._ray.shutdown()

    def start(self, number: int) -> _Actor:
        """Begin a worker, as soon as the cluster has room for it."""
        if number < len(self.hands):  # one that failed and lives
            self._ray.kill(self.hands[number].actor)
        actor = self._kind.remote(self._making, self._threads, self._share)
        return _Actor(actor=actor, answer=actor.begin.remote())

    def give(self, hand: _Actor, found: FoundSeries) -> None:
        """Hand a series to a worker. Its answer is asked for after the next was given, so that it reads ahead."""
        files = tuple(Path(os.path.abspath(path)) for path in found.files)
        hand.actor.add.remote(dataclasses.replace(found, files=files))

    def events(self) -> list[tuple[int, Event]]:
        """Wait until workers tell something."""
        for one in self.hands:
            if one.answer is None and one.in_hand:
                one.answer = one.actor.finish.remote()
        number = {one.answer: n for n, one in enumerate(self.hands) if one.answer is not None}
        told, _ = self._ray.wait(list(number), num_returns=1)
        events = []
        for answer in told:
            self.hands[number[answer]].answer = None
            events.append((number[answer], self._event(answer)))
        return events

    def _event(self, answer: Any) -> Event:
        try:
            event: Event = self._ray.get(answer)
            return event
        except self._ray.exceptions.RayError as error:
            return Died(
                f"Its worker was lost ({type(error).__name__}): its machine failed, or its memory was used up. Use fewer "
                "--workers, or --memory-gb."
            )


class RemoteWorker:
    """What an actor does. Its methods run one after the other; a series that is added is read beside them."""

    def __init__(self, making: Making, threads: int, share: int) -> None:
        self._making, self._threads, self._share = making, threads, share

    def begin(self) -> LamellaError | None:
        """Load the model; the answer is why it cannot be."""
        import torch

        from lamella.batch.worker import Worker
        from lamella.machine.memory import available_bytes, share_memory

        torch.set_num_threads(self._threads)
        share_memory(available_bytes() // self._share)
        try:
            self._worker = Worker(self._making)
        except LamellaError as error:
            return error
        return None

    def add(self, found: FoundSeries) -> None:
        """Begin to read a series."""
        self._worker.add(found)

    def finish(self) -> Finished:
        """Make the case that was added first."""
        return self._worker.finish()


def _connected(address: str) -> Any:
    """Ray, connected; it sends no statistics of use, and nothing of the workers' output is shown."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    own: dict[str, Any] = {"num_cpus": threads_of(1), "object_store_memory": _OBJECTS_BYTES, "include_dashboard": False}
    where: dict[str, Any] = {
        "address": address,
        **(own if address == "local" else {}),
    }  # without one, any that runs here
    if found := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):  # ray.init waits for minutes
        try:
            socket.create_connection((found[1], int(found[2])), _ANSWER_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from None
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
    except Exception as error:  # also of type Exception itself, where a node does not start in time
        raise _no_cluster(address, error) from None
    finally:
        with suppress(ValueError):  # ray.init takes the signal for itself
            signal.signal(signal.SIGTERM, handler)
    return ray


def _no_cluster(address: str, error: Exception) -> UsageError:
    return UsageError(
        f"There is no Ray cluster at {address} ({type(error).__name__}). Start one (ray start --head), or give --ray local."
    )
