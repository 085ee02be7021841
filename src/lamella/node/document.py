"""The node's own pages as HTTP answers: everything in one document, and a policy that lets it talk to this node alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse

from lamella.report.page import render, web_file

_PACKAGE = "lamella.node"
_STYLE = web_file("style.css") + web_file("node.css", _PACKAGE)


def web_page(template: str, scripts: tuple[str, ...] = (), status: int = 200, **content: Any) -> HTMLResponse:
    """A page of the folder `web`.

    Args:
        template: its file.
        scripts: files of `web`, run in this order after the theme's.
        status: of the answer.
        content: for the template, which escapes it.
    """
    texts = [web_file("theme.js"), *(web_file(name, _PACKAGE) for name in scripts)]
    around = f"\n{_STYLE}\n"  # as page.html puts it into its element
    policy = (
        f"default-src 'none'; script-src {_hashes(texts)}; style-src {_hashes([around])}; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'"
    )
    page = render(
        template,
        _PACKAGE,
        policy=Markup(policy),
        title="Lamella: node",
        style=Markup(_STYLE),
        data=Markup("{}"),
        scripts=[Markup(text) for text in texts],
        blocks={},
        **content,
    )
    return HTMLResponse(page, status, {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"})


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{one}'" for one in digests)
