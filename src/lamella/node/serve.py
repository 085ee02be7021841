"""One node: receives, closes, thins, sends, answers HTTP; each in a thread of its own, all ended by one signal."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pydicom import config

from lamella.errors import LamellaError, UsageError
from lamella.machine.extras import require
from lamella.node.closing import OpenStudies
from lamella.node.dispatch import Dispatcher
from lamella.node.http import HttpServer, build_app, in_address, read_token
from lamella.node.journal import LOG, Journal
from lamella.node.pages import Pages
from lamella.node.processes import Died
from lamella.node.receive import Receiver
from lamella.node.scp import LimitedServer, quieten
from lamella.node.send import senders
from lamella.node.settings import NodeSettings
from lamella.node.states import States
from lamella.node.upload import Uploads

_PAUSE_S = 0.25
_STOP_S = 10.0
_GIB = 1 << 30


class Node:
    """A node that runs from `start` to `stop`.

    Args:
        settings: what it is told.

    Raises:
        LamellaError: a setting cannot be met, or another node works on the same folder.
    """

    def __init__(self, settings: NodeSettings) -> None:
        _check(settings)
        self.settings, self.states = settings, States(settings.state)
        self.journal = Journal(settings.state, plain=settings.audit_uids == "plain")
        self._studies = OpenStudies(settings, self.states, self.journal)
        self._receiver = Receiver(settings, self.states, self._studies, self.journal)
        self._dispatcher = Dispatcher(settings, self.states, self.journal)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._scp: LimitedServer | None = None
        self._http: HttpServer | None = None

    def start(self) -> None:
        """Load the model, then listen.

        Raises:
            LamellaError: the model cannot be loaded, or an address is taken.
        """
        try:
            self._dispatcher.worker.start()
        except (Died, TimeoutError) as error:
            raise LamellaError(
                f"The process that thins did not start: it {str(error) or 'took more than ten minutes to load the model'}. "
                "Look at the machine's load and memory, and start the node again."
            ) from None
        http, dicom = self.settings.http, self.settings.dicom
        if http is not None:
            uploads = Uploads(self.settings, self.states, self._studies, self._receiver)
            worker = self._dispatcher.worker
            pages = Pages(self.settings, self.states, self.journal, uploads, lambda: worker.progress, self.not_ready)
            counted = self._receiver.answers
            app = build_app(self.settings.state, http, self.not_ready, lambda: dict(counted), pages.routes())
            self._http = HttpServer(app, http)
            self._http.start()
        try:
            self._scp = self._receiver.start()
        except OSError as error:
            raise LamellaError(
                f"The node cannot listen at {dicom.host}:{dicom.port} ({os.strerror(error.errno or 0)}). Expected an "
                "address of this machine and a free port. Change dicom."
            ) from None
        steps: list[tuple[str, Callable[[], object]]] = [
            ("closing", self._studies.close_quiet),
            ("dispatch", self._dispatcher.step),
            ("expiry", self._expire),
            *(("send", sender.step) for sender in senders(self.settings, self.states, self.journal)),
        ]
        for name, step in steps:
            thread = threading.Thread(target=self._repeat, args=(name, step), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        page = None if http is None else f"http://{in_address(http.host)}:{http.port}/"
        self.journal.note("started", aet=dicom.aet, host=dicom.host, port=dicom.port, page=page)

    def not_ready(self) -> str:
        """Why it cannot work now; empty where it can."""
        if self._scp is None or not all(thread.is_alive() for thread in self._threads):
            return "it starts or stops"
        if shutil.disk_usage(self.settings.state).free < self.settings.limits.disk_free_gb * _GIB:
            return "the disk is full"
        return "" if self._dispatcher.worker.pid is not None else "the worker starts"

    def stop(self) -> None:
        """End everything; what was begun waits for the next start."""
        self._stopping.set()
        if self._scp is not None:
            self._scp.stop()
        self._dispatcher.stop()
        until = time.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self._http is not None:
            self._http.stop()
        self.journal.note("stopped")
        self.states.close()

    def _repeat(self, name: str, step: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            acted: object = False
            try:
                acted = step()
            except OSError as error:  # a full disk, or somebody moved a folder
                self.journal.note("error", level=logging.ERROR, where=name, reason=os.strerror(error.errno or 0))
                self._stopping.wait(1.0)
            except Exception as error:  # nothing may end a thread of a node; the text may quote a header
                place = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
                self.journal.note("error", level=logging.ERROR, where=name, reason=reason)
                self._stopping.wait(1.0)
            if not acted:
                self._stopping.wait(_PAUSE_S)

    def _expire(self) -> None:
        if self.settings.expire_days is not None:
            for name in self.states.expire(self.settings.expire_days):
                self.journal.note("expired", round=name)
        self._stopping.wait(60.0)


def serve(settings: NodeSettings) -> None:
    """Run a node until SIGTERM or SIGINT.

    Raises:
        LamellaError: it cannot start.
    """
    _log_to_standard_error()
    quieten()
    config.settings.reading_validation_mode = config.IGNORE  # warnings quote values
    stop = threading.Event()
    node = Node(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        node.start()
        while not stop.wait(1.0):
            pass
    finally:
        node.stop()


def _check(settings: NodeSettings) -> None:
    """What can be refused before anything is begun."""
    if settings.http is not None or settings.pages:
        require("report", "A node with http or pages")
    if settings.thin.spread:
        raise UsageError("thin.spread must be false: a node sends series alone.")
    tls = settings.dicom.tls
    files = [peer.token_file for peer in settings.peers] + [peer.ca for peer in settings.peers]
    if settings.http is not None and settings.http.token_file is not None:
        read_token(settings.http.token_file)
    for file in [*files, *((tls.certificate, tls.key, tls.ca) if tls is not None else ())]:
        if file is not None and not os.access(file, os.R_OK):
            raise UsageError(
                f"The file {file} cannot be read. Expected a certificate, key or token. Correct the config."
            )


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)
