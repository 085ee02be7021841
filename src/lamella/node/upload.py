"""Files from the page into the same intake as C-STORE: each body is streamed to the disk, then read instance by instance."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lamella.dicom.archive import Entry, open_source
from lamella.errors import LamellaError
from lamella.files.names import numbered_names
from lamella.node.closing import OpenStudies
from lamella.node.receive import NO_RESOURCES, SUCCESS, Receiver, Taken
from lamella.node.settings import NodeSettings
from lamella.node.states import States

_GIB = 1 << 30
_KEYS_BYTES = 1 << 20
_KEY = re.compile(r"[0-9a-f]{32}s?")


class Uploads:
    """Takes ZIPs and DICOM files. Their names never come here; the page counts them.

    Args:
        settings: of the node.
        states: whose temporary folder holds a file until it is read.
        studies: closed when the page says that all is sent.
        receiver: who checks and keeps every instance.
    """

    def __init__(self, settings: NodeSettings, states: States, studies: OpenStudies, receiver: Receiver) -> None:
        self._settings, self._states, self._studies, self._receiver = settings, states, studies, receiver
        self._running = 0

    async def take(self, request: Request) -> Response:
        """One file; the answer is a line of JSON for each instance in it, as they are kept or not."""
        if self._running >= self._settings.limits.associations:
            return _refused(503, "The node takes as many files at a time as it may. Try again later.")
        length = request.headers.get("content-length", "")
        if not length.isdecimal():
            return _refused(411, "The file's length is not said. Expected the header Content-Length.")
        if (full := self._no_room(int(length))) is not None:
            return full
        part = self._states.temporary / secrets.token_hex(16)
        self._running += 1

        def done() -> None:
            self._running -= 1
            part.unlink(missing_ok=True)

        try:
            came = 0
            async with await anyio.open_file(part, "wb") as file:
                async for chunk in request.stream():
                    came += len(chunk)
                    await file.write(chunk)
            if came == int(length):
                return _Lines(self._lines(part), done)
            refusal = _refused(400, "The file did not come whole. Send it again.")
        except ClientDisconnect:
            refusal = _refused(400, "The sender went away.")
        except OSError as error:
            refusal = _refused(507, f"The file could not be kept: {os.strerror(error.errno or 0)}.")
        except BaseException:
            done()
            raise
        done()
        return refusal

    async def close(self, request: Request) -> Response:
        """All is sent: the studies of these keys are whole."""
        text = b""
        async for chunk in request.stream():
            text += chunk
            if len(text) > _KEYS_BYTES:
                return _refused(413, "Too many keys.")
        try:
            keys = [str(key) for key in json.loads(text)]
        except (ValueError, TypeError):
            return _refused(400, "No list of keys.")
        closed = await anyio.to_thread.run_sync(self._studies.close_now, list(filter(_KEY.fullmatch, keys)))
        return JSONResponse({"closed": [one.name for one in closed]})

    def _no_room(self, size: int) -> Response | None:
        limits = self._settings.limits
        if size > limits.study_gb * _GIB:
            return _refused(
                413, f"The file has {size / _GIB:.1f} GiB, more than limits.study_gb, {limits.study_gb:g} GiB."
            )
        if shutil.disk_usage(self._states.root).free < limits.disk_free_gb * _GIB + 2 * size:
            return _refused(507, "The disk is full up to what is kept free. Remove studies, or make room.")
        return None

    def _lines(self, part: Path) -> Iterator[str]:
        """Reads what came."""
        try:
            with ExitStack() as stack:
                with numbered_names():  # not across a yield: the next line may be asked for by another thread
                    archive = stack.enter_context(open_source(part))
                entries, most = archive.entries, self._settings.limits.study_instances
                if len(entries) > most:
                    yield _line(error=f"It holds {len(entries)} files, more than limits.study_instances, {most}.")
                    return
                for number, entry in enumerate(entries, start=1):
                    taken = self._instance(entry)
                    kept = taken.status == SUCCESS
                    yield _line(file=number, of=len(entries), kept=kept, reason=taken.reason, key=taken.key)
                    if taken.status == NO_RESOURCES:
                        return  # the rest would fare alike
        except LamellaError as error:
            yield _line(error=str(error))

    def _instance(self, entry: Entry) -> Taken:
        if entry.size > self._settings.limits.instance_mb << 20:
            return Taken(NO_RESOURCES, "it is larger than limits.instance_mb")
        try:
            return self._receiver.take_file(entry.read(-1))
        except LamellaError as error:
            return Taken(-1, str(error))


class _Lines(StreamingResponse):
    """Lines of JSON; `done` is called however it ends, also where nobody waits for the first of them."""

    def __init__(self, lines: Iterator[str], done: Callable[[], None]) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


def _line(**facts: Any) -> str:
    return json.dumps(facts) + "\n"


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)
