"""Who may ask the node over HTTP: a token where one is set, the same origin for whatever changes anything."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lamella.node.document import web_page

LOGIN = "/login"
_OPEN = ("/health", "/favicon.ico", LOGIN)
_COOKIE, _COOKIE_S = "lamella", 12 * 3600
_WRONG_S = 1.0
"""Seconds that a wrong token waits for its answer."""
_FORM_BYTES = 4096
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}


class PlainHeaders:
    """Adds to every answer what keeps it from caches, frames and other sites."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


class SameOrigin:
    """Refuses requests that change something unless a page of this node makes them, or a program that has the token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            own = urlsplit(headers.get("origin", "")).netloc == headers.get("host") != ""
            if not own and "authorization" not in headers:
                text = "Origin is not this node's. Expected a page of this node, or a token.\n"
                await PlainTextResponse(text, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class TokenCheck:
    """Refuses every request that brings neither the secret nor the cookie of somebody who had it; a page asks for it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or scope["path"] in _OPEN or self._known(Request(scope)):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal: Response = PlainTextResponse("A token is needed.\n", 401, {"WWW-Authenticate": "Bearer"})
        if scope["method"] == "GET" and "text/html" in headers.get("accept", "") and "authorization" not in headers:
            refusal = RedirectResponse(LOGIN, 303)
        await refusal(scope, receive, send)

    def _known(self, request: Request) -> bool:
        brought = request.headers.get("authorization")
        if brought is not None:
            return hmac.compare_digest(brought.encode(), f"Bearer {self._token}".encode())
        until, _, proof = request.cookies.get(_COOKIE, "").partition(".")
        expected = _proof(self._token, until).encode()
        return hmac.compare_digest(proof.encode(), expected) and int(until) > time.time()


def login_routes(token: str) -> list[BaseRoute]:
    """The page that asks for the token and keeps a proof of it in a cookie that no script can read."""

    async def login(request: Request) -> Response:
        if request.method == "GET":
            return web_page("login.html", wrong=False)
        form = b""
        async for chunk in request.stream():
            form += chunk
            if len(form) > _FORM_BYTES:
                return PlainTextResponse("The form is too long.\n", 413)
        given = parse_qs(form.decode("ascii", "replace")).get("token", [""])[0].strip()
        if not hmac.compare_digest(given.encode(), token.encode()):
            await asyncio.sleep(_WRONG_S)
            return web_page("login.html", status=401, wrong=True)
        until = str(int(time.time()) + _COOKIE_S)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        value = f"{until}.{_proof(token, until)}"
        answer.set_cookie(_COOKIE, value, max_age=_COOKIE_S, httponly=True, samesite="strict", secure=secure)
        return answer

    async def logout(request: Request) -> Response:
        answer = RedirectResponse(LOGIN, 303)
        answer.delete_cookie(_COOKIE, httponly=True, samesite="strict")
        return answer

    return [Route(LOGIN, login, methods=["GET", "POST"]), Route("/logout", logout, methods=["POST"])]


def _proof(token: str, until: str) -> str:
    return hmac.new(token.encode(), f"cookie until {until}".encode(), hashlib.sha256).hexdigest()
