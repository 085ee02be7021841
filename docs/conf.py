"""The documentation site: Sphinx with MyST. `make docs` builds it, offline and with warnings as errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import latex2mathml.converter

sys.path.insert(0, str(Path(__file__).parent))
from generate import generate

import lamella

generate()

project, author, release = "Lamella", "The Lamella maintainers", lamella.__version__
project_copyright = "The Lamella maintainers; Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_generated", "reference/cli"]

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4

default_role = "code"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_title = f"Lamella {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_math_renderer = "mathml"

PAGES = {
    "README.md": "/index.md",
    "CONTRIBUTING.md": "/project/contributing.md",
    "CHANGELOG.md": "/project/changes.md",
    "SECURITY.md": "/project/security.md",
    "tutorial.ipynb": "/start/tutorial.md",
}
"""Files beside the documents that are pages of the site."""


def to_pages(app: Any, docname: str, source: list[str]) -> None:
    """Let links to those files lead to their pages."""
    names = "|".join(map(re.escape, PAGES))
    source[0] = re.sub(rf"\]\((?:\.\./)*({names})(#[^)]*)?\)", lambda m: f"]({PAGES[m[1]]}{m[2] or ''})", source[0])


def mathml_inline(writer: Any, node: Any) -> None:
    """An equation in the line, as MathML: browsers draw it without a script or a font from the network."""
    mathml(writer, node, "inline")


def mathml_block(writer: Any, node: Any) -> None:
    """An equation of its own."""
    mathml(writer, node, "block")


def mathml(writer: Any, node: Any, display: str) -> None:
    """Write an equation and skip its source."""
    from docutils import nodes

    tag = "span" if display == "inline" else "div"
    formula = latex2mathml.converter.convert(node.astext(), display=display)
    writer.body.append(f'<{tag} class="math-{display}">{formula}</{tag}>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Register the two."""
    app.connect("source-read", to_pages)
    app.add_html_math_renderer("mathml", (mathml_inline, None), (mathml_block, None))
