"""Health, readiness and metrics over HTTP. `build_app` makes the application of a state folder; pages may be added."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from lamella import __version__
from lamella.errors import LamellaError, UsageError
from lamella.node.access import PlainHeaders, SameOrigin, TokenCheck, login_routes
from lamella.node.journal import LOG
from lamella.node.settings import HttpSettings
from lamella.node.states import STATES

_SHORTEST_TOKEN = 16
_START_S = 30.0


def build_app(
    state: Path,
    http: HttpSettings,
    not_ready: Callable[[], str] = lambda: "",
    answers: Callable[[], dict[int, int]] = dict,
    pages: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application of a node.

    Args:
        state: folder of the node.
        http: who may ask.
        not_ready: why the node cannot work now; empty where it can.
        answers: how often each C-STORE status was answered.
        pages: further routes, behind the same checks.

    Raises:
        UsageError: the token's file cannot be read, or its secret is short.
    """
    registry = CollectorRegistry()
    registry.register(_NodeCollector(state, not_ready, answers))

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    def ready(request: Request) -> Response:
        reason = not_ready()
        return JSONResponse({"ready": not reason, "reason": reason}, status_code=503 if reason else 200)

    def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    checks = [Middleware(PlainHeaders)]
    if http.token_file is None:  # no page of another site may ask under a name of its own
        checks.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", in_address(http.host)])
        )
    checks.append(Middleware(SameOrigin))
    routes = [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics), *pages]
    if http.token_file is not None:
        token = read_token(http.token_file)
        checks.append(Middleware(TokenCheck, token=token))
        routes += login_routes(token)
    return Starlette(routes=routes, middleware=checks, exception_handlers={Exception: _unexpected})


def in_address(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


async def _unexpected(request: Request, error: Exception) -> Response:
    """Kind and place alone: the text may quote a header of a file."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
    LOG.error("error where=http reason=%s", reason)
    return JSONResponse({"error": f"An error that was not expected: {reason}."}, 500)


class HttpServer:
    """uvicorn in a thread.

    Args:
        app: what answers.
        http: where.
    """

    def __init__(self, app: Starlette, http: HttpSettings) -> None:
        config = uvicorn.Config(
            app, host=http.host, port=http.port, log_config=None, access_log=False, server_header=False
        )
        logging.getLogger("uvicorn").handlers, logging.getLogger("uvicorn").propagate = [logging.NullHandler()], False
        self._server, self._where = uvicorn.Server(config), f"{http.host}:{http.port}"
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            LamellaError: the address is taken.
        """
        self._thread.start()
        until = time.monotonic() + _START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.02)
        if not self._server.started:
            raise LamellaError(
                f"The web server cannot listen at {self._where}. Expected an address of this "
                "machine and a free port. Change http."
            )

    def stop(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # how uvicorn says that it cannot listen
            return


class _NodeCollector(Collector):
    """Figures of the moment, read from the state folder."""

    def __init__(self, state: Path, not_ready: Callable[[], str], answers: Callable[[], dict[int, int]]) -> None:
        self._state, self._not_ready, self._answers = state, not_ready, answers

    def collect(self) -> Iterable[Metric]:
        studies = GaugeMetricFamily("lamella_studies", "Studies by state", labels=["state"])
        for state in STATES:
            studies.add_metric([state], sum(1 for _ in (self._state / state).iterdir()))
        answers = CounterMetricFamily("lamella_store_answers", "C-STORE answers by status", labels=["status"])
        for status, count in sorted(self._answers().items()):
            answers.add_metric([f"{status:04X}"], count)
        yield studies
        yield answers
        yield GaugeMetricFamily(
            "lamella_disk_free_bytes", "Room on the disk of the state", shutil.disk_usage(self._state).free
        )
        yield GaugeMetricFamily("lamella_ready", "1 if the node can work", float(not self._not_ready()))
        version = GaugeMetricFamily("lamella_version", "Always 1", labels=["version"])
        version.add_metric([__version__], 1)
        yield version


def read_token(file: Path) -> str:
    """The secret of a file.

    Raises:
        UsageError: it cannot be read, or is short.
    """
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"http.token_file {file} cannot be read ({type(error).__name__}).") from None
    if len(token) < _SHORTEST_TOKEN:
        raise UsageError(
            f"The secret in http.token_file {file} is short. Expected at least {_SHORTEST_TOKEN} characters."
        )
    return token
