"""One HTML page that holds everything it shows and asks nothing of a network: styles, scripts, data, volumes."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from lamella import RESEARCH_ONLY
from lamella.errors import LamellaError
from lamella.report.pack import Packed
from lamella.window import WINDOWS

VIEWER_SCRIPTS = ("nifti.js", "planes.js", "pane.js", "hands.js", "toolbar.js", "viewer.js")
"""The viewer, in the order in which its parts need each other."""


_LABELS = {
    "soft-tissue": "Soft tissue",
    "lung": "Lung",
    "bone": "Bone",
    "pulmonary-embolism": "PE",
    "full": "Full",
}

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def web_file(name: str) -> str:
    """A file of `report/web`, as text."""
    return (resources.files("lamella.report") / "web" / name).read_text(encoding="utf-8")


def viewer_windows() -> list[dict[str, Any]]:
    """The presets of `lamella.window` as the viewer takes them."""
    return [
        {"name": name, "label": _LABELS.get(name, name), "centre": window.centre_hu, "width": window.width_hu}
        for name, window in WINDOWS.items()
    ]


def assemble(
    body: str,
    data: Mapping[str, Any],
    title: str,
    *,
    blocks: Mapping[str, str] | None = None,
    extra_script: str = "",
    extra_style: str = "",
) -> str:
    """Put a page together.

    Its Content-Security-Policy forbids every connection, and runs no script but those put in here.

    Args:
        body: trusted HTML: what comes from a file or a user must have gone through `html.escape`.
        data: JSON for the scripts, in the element `page-data`.
        title: of the window; escaped here.
        blocks: id -> text (base64) of large data, at the end of the page in this order: the page can be read before
            they have arrived.
        extra_script, extra_style: of this page, after the viewer's.

    Returns:
        The HTML.

    Raises:
        LamellaError: a block that is not plain base64, or data with numbers that are not finite.
    """
    scripts = [*(web_file(name) for name in VIEWER_SCRIPTS), *([extra_script] if extra_script else [])]
    for script in scripts:
        if re.search(r"</script|<!--", script, re.IGNORECASE):
            raise LamellaError(
                "A script of the page would end its own element. Expected neither </script nor <!-- in it."
            )
    parts = {
        "policy": _policy(scripts),
        "title": html.escape(title),
        "style": web_file("style.css") + extra_style,
        "body": body,
        "data": _json(data),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        "blocks": "\n".join(_block(name, text) for name, text in (blocks or {}).items()),
    }
    return _PLACE.sub(lambda match: parts[match[1]], web_file("template.html"))


def _policy(scripts: list[str]) -> str:
    """No network, no frames, no forms; scripts by their hash alone."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in."""
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise LamellaError("The page's data hold a number that is not finite. Expected null instead.") from error
    return text.replace("<", "\\u003c")


def _block(name: str, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9+/=]*", text) or not re.fullmatch(r"[\w-]+", name):
        raise LamellaError(f"The block {name!r} of a page must be base64 and its name letters, digits and hyphens.")
    return f'<script type="text/plain" id="{name}">{text}</script>'


def header(title: str, facts: str, parts: Sequence[tuple[str, str]]) -> str:
    """The head of a page: what it is, the notice, where to go, light or dark.

    Args:
        title, facts: plain text.
        parts: (id, name) of the sections to link to.
    """
    links = "".join(f'<a href="#{name}">{html.escape(label)}</a>' for name, label in parts)
    return (
        '<a class="skip" href="#pictures">Skip to the pictures</a>'
        '<header class="top"><div class="titles"><p class="brand">Lamella</p>'
        f'<h1>{html.escape(title)}</h1><p class="facts">{html.escape(facts)}</p></div>'
        f'<p class="notice" role="note">{html.escape(RESEARCH_ONLY)}</p></header>'
        f'<nav class="bar" aria-label="Parts of this page">{links}<span id="chooser-place"></span>'
        '<button type="button" id="theme" aria-label="Light or dark">Dark</button></nav>'
    )


def viewer_part(cases: Sequence[tuple[str, str]], notes: Mapping[str, str]) -> str:
    """The section that the page's script fills with a viewer.

    Args:
        cases: (id, title) of all cases; one with an empty title has no chooser.
        notes: id -> what was done to its pictures; cases that are missing have no pictures.
    """
    options = "".join(f'<option value="{html.escape(key)}">{html.escape(title)}</option>' for key, title in cases)
    chooser = f'<label class="chooser" id="chooser">Case <select>{options}</select></label>' if len(cases) > 1 else ""
    words = "".join(
        f'<p class="note" data-case="{html.escape(key)}">'
        f"{html.escape(notes.get(key, 'This page holds no pictures of this case.'))}</p>"
        for key, _ in cases
    )
    return (
        f'<section id="pictures"><div class="heading"><h2>Pictures</h2>{chooser}</div>'
        '<div id="viewer"><noscript><p>The pictures need JavaScript; the rest of this page does not.</p></noscript></div>'
        f"{words}</section>"
    )


def view_of(case: str, packed: Packed, shown: Sequence[str], cursor: Sequence[float]) -> dict[str, Any]:
    """What the page's script needs to show a case.

    Args:
        case: its id.
        packed: its volumes.
        shown: ids of the panes at start.
        cursor: LPS mm at start.
    """
    options = {"show": list(shown), "cursor": list(cursor), "plane": "coronal", "window": "soft-tissue"}
    return {"case": case, "volumes": list(packed.volumes), "options": options}
