"""One HTML page that holds everything it shows and asks nothing of a network: styles, scripts, data, volumes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

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


def web_file(name: str, package: str = "lamella.report") -> str:
    """A file of the package's folder `web`, as text."""
    return (resources.files(package) / "web" / name).read_text(encoding="utf-8")


def viewer_windows() -> list[dict[str, Any]]:
    """The presets of `lamella.window` as the viewer takes them."""
    return [
        {"name": name, "label": _LABELS.get(name, name), "centre": window.centre_hu, "width": window.width_hu}
        for name, window in WINDOWS.items()
    ]


def render_page(
    template: str,
    content: Mapping[str, Any],
    data: Mapping[str, Any],
    title: str,
    *,
    blocks: Mapping[str, str] | None = None,
    scripts: Sequence[str] = ("theme.js", "page.js"),
    style: str = "",
    package: str = "lamella.report",
) -> str:
    """Put a page together.

    Its Content-Security-Policy forbids every connection, and runs no script but those put in here.

    Args:
        template: file in `web` that extends page.html.
        content: for the template, which escapes it.
        data: JSON for the scripts, in the element `page-data`.
        title: of the window.
        blocks: id -> text (base64) of large data, at the end of the page in this order: the page can be read before
            they have arrived.
        scripts: files in `web` that run after the viewer's.
        style: file in `web` that is added to the viewer's.
        package: whose `web` holds template, scripts and style.

    Returns:
        The HTML.

    Raises:
        LamellaError: a block that is not plain base64, or data with numbers that are not finite.
    """
    texts = [*map(web_file, VIEWER_SCRIPTS), *(web_file(name, package) for name in scripts)]
    for script in texts:
        if re.search(r"</script|<!--", script, re.IGNORECASE):
            raise LamellaError(
                "A script of the page would end its own element. Expected neither </script nor <!-- in it."
            )
    for name, text in (blocks or {}).items():
        if not re.fullmatch(r"[A-Za-z0-9+/=]*", text) or not re.fullmatch(r"[\w-]+", name):
            raise LamellaError(f"The block {name!r} of a page must be base64 and its name letters, digits and hyphens.")
    # What is marked as safe here: files of the package, and JSON without "<".
    return render(
        template,
        package,
        **content,
        policy=Markup(_policy(texts)),
        title=title,
        style=Markup(web_file("style.css") + (web_file(style, package) if style else "")),
        data=Markup(_json(data)),
        scripts=[Markup(script) for script in texts],
        blocks=blocks or {},
    )


def render(template: str, package: str = "lamella.report", **content: Any) -> str:
    """Fill a template of the package's folder `web`; what it is given is escaped in HTML, and must be all it asks for."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "web") for name in dict.fromkeys((package, "lamella.report"))]),
        autoescape=lambda name: name is None or name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["research_only"] = RESEARCH_ONLY
    return environment.get_template(template).render(content)


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


def view_of(
    case: str, packed: Packed, shown: Sequence[str], cursor: Sequence[float], window: str = "soft-tissue"
) -> dict[str, Any]:
    """What the page's script needs to show a case.

    Args:
        case: its id.
        packed: its volumes.
        shown: ids of the panes at start.
        cursor: LPS mm at start.
        window: a name of `lamella.window`, at start.
    """
    options = {"show": list(shown), "cursor": list(cursor), "plane": "coronal", "window": window}
    return {"case": case, "volumes": list(packed.volumes), "options": options}
