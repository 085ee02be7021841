"""pynetdicom's server with limits that it lacks: on what a PDU may claim, on a message, on connections, on TLS handshakes."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
from collections.abc import Callable
from socketserver import TCPServer
from typing import Any, cast

from pynetdicom import _config, evt
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from lamella.node.settings import Limits, TlsSettings

_SPARE_BYTES = 64 << 10
"""What the largest PDU may have beside its data; also an association request with many presentation contexts."""

_HANDSHAKE_S = 10.0


def quieten() -> None:
    """Keep pynetdicom from logging: its records quote what peers send."""
    _config.LOG_HANDLER_LEVEL = "none"
    logger = logging.getLogger("pynetdicom")
    logger.handlers, logger.propagate = [logging.NullHandler()], False


class LimitedSocket(AssociationSocket):
    """Ends an association whose peer claims a larger PDU, or sends a larger message, than it may.

    Attributes:
        pdu_bytes, message_bytes: what a peer may send.
        taken: bytes of the message so far.
    """

    pdu_bytes = message_bytes = taken = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly so many bytes; fewer where the connection ends."""
        self.taken += nr_bytes
        if nr_bytes > self.pdu_bytes or self.taken > self.message_bytes:
            raise OSError("more than may be sent")
        data, got = bytearray(nr_bytes), 0
        assert self.socket is not None, "an open association has a socket"
        with memoryview(data) as view:
            while got < nr_bytes and (count := self.socket.recv_into(view[got:])):
                got += count
        if sys.platform == "linux":  # dcmtk waits for it before it sends the rest: 12 ms an instance, not 54
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data[:got]


def limited(limits: Limits) -> list[Any]:
    """Handlers that limit an association, ours or a peer's, to what `limits` allows."""

    def opened(event: evt.Event) -> None:
        held = cast(Any, event.assoc.dul.socket)
        held.__class__ = LimitedSocket  # pynetdicom has no way to choose the class
        held.pdu_bytes, held.message_bytes = limits.pdu_kb * 1024 + _SPARE_BYTES, limits.instance_mb << 20
        held.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begun(event: evt.Event) -> None:
        if isinstance(held := event.assoc.dul.socket, LimitedSocket):
            held.taken = 0

    return [(evt.EVT_CONN_OPEN, opened), (evt.EVT_DIMSE_RECV, begun)]


class LimitedHandler(RequestHandler):
    """Makes the TLS handshake in the thread of its own connection."""

    server: LimitedServer

    def handle(self) -> None:
        """Serve one connection."""
        self.request.settimeout(_HANDSHAKE_S)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        self.request.settimeout(self.server.limits.idle_s)
        super().handle()


class LimitedServer(ThreadedAssociationServer):
    """See the module."""

    daemon_threads = True

    def __init__(self, *bound: Any, limits: Limits, on_error: Callable[[str], None], **named: Any) -> None:
        self.limits, self._on_error = limits, on_error
        super().__init__(*bound, **named)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its handshake comes later, so that a silent client keeps nobody waiting."""
        assert self.socket is not None, "the server listens"
        client, address = self.socket.accept()
        if self.ssl_context is not None:
            client.settimeout(_HANDSHAKE_S)
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def stop(self) -> None:
        """Take no more connections, and end those that there are."""
        TCPServer.shutdown(self)  # pynetdicom's own forgets that it may not have been made by `start_server`
        self.server_close()
        self.ae.shutdown()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is a thread to spare. Beyond `associations` peers are told so; far beyond they are not."""
        return len(self.active_associations) < 2 * self.limits.associations + 8

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ended before it was an association, such as a failed handshake."""
        self._on_error(str(client_address[0]))


def tls_context(settings: TlsSettings, *, server: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer (PS3.15 B.9) with our certificate, and peers' checked against `ca`."""
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    context = ssl.create_default_context(purpose, cafile=str(settings.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    if server:
        context.verify_mode = ssl.CERT_REQUIRED if settings.client_certificate else ssl.CERT_NONE
    return context
