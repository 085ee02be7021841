"""The page around the content: nothing from a network, no script but its own, nothing that breaks out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from tests.report.one_page import content_of

from lamella.errors import LamellaError
from lamella.report import page as pages
from lamella.report.contact import ContactSheet, Strip
from lamella.report.markup import Card, Cell, Row, Table, number, plot_of
from lamella.report.page import render_page, viewer_windows
from lamella.window import WINDOWS

HOSTILE = '</script><img src="https://x.invalid/a.png" onerror="alert(1)">&'


class Outline(HTMLParser):
    """Elements with attributes, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


def page(**given: Any) -> str:
    plain = {"template": "report.html", "content": content_of(), "data": {"a": 1}, "title": "t"}
    return render_page(**plain | given)


def evaluation(text: str, pooled: Sequence[Table] = ()) -> str:
    """The page of an evaluation in which everything that comes from outside is one text."""
    row = Row(text, [Cell(text, True, text), Cell(text), Cell("")], text, text)
    table = Table("a", text, text, [text, text, text], [row, row], True)
    sheet = ContactSheet(text, text, [(text, text, [Strip("data:image/png;base64,AA==", text)])])
    case = {"id": text, "title": text, "notes": [text], "plots": [plot_of(Figure(), "one", text)], "tables": [table]}
    case["sheets"] = [sheet]
    pairs = {key: [(text, text)] for key in ("run", "methods", "settings")}
    content = content_of(
        heading=text,
        facts=text,
        links=[("a", text)],
        cards=[Card(text, text)],
        warnings=[text],
        warnings_title=text,
        choices=[(text, text), ("b", "B")],
        notes={text: text},
    )
    return page(
        template="evaluation.html",
        content={**content, "gains": None, "people": [], "pooled": pooled, "cases": [case], **pairs},
        title=text,
        data={"label": text},
    )


def test_nothing_is_asked_of_a_network() -> None:
    made = evaluation("words")
    for tag, attributes in Outline(made).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not {"srcset", "action", "ping"} & set(attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(
        r"url\(|@import|https?://|fetch\(|XMLHttpRequest|WebSocket|import\(", re.sub(r' xmlns[:\w]*="[^"]*"', "", made)
    )


def test_the_policy_allows_these_scripts_and_no_connection() -> None:
    outline = Outline(page())
    policy = next(a["content"] for tag, a in outline.elements if tag == "meta" and a.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    kinds = [a.get("type") for tag, a in outline.elements if tag == "script"]
    own = [text for text, kind in zip(outline.scripts, kinds, strict=True) if kind is None]
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in own}
    assert set(rules["script-src"].split()) == hashes
    assert len(own) == 8  # six of the viewer, two of the page


def test_data_cannot_leave_their_element() -> None:
    outline = Outline(page(data={"label": HOSTILE}, title=HOSTILE))
    text = next(
        t for t, (_, a) in zip(outline.scripts, only(outline, "script"), strict=True) if a.get("id") == "page-data"
    )
    assert json.loads(text) == {"label": HOSTILE}
    assert "img" not in [tag for tag, _ in outline.elements]


def only(outline: Outline, tag: str) -> list[tuple[str, dict[str, Any]]]:
    return [one for one in outline.elements if one[0] == tag]


def test_everything_from_outside_is_escaped() -> None:
    harmless, hostile = Outline(evaluation("words")), Outline(evaluation(HOSTILE))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]
    assert len(hostile.scripts) == len(harmless.scripts)
    assert evaluation(HOSTILE).count("&lt;/script&gt;") >= 20


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    content = content_of()
    del content["facts"]
    with pytest.raises(UndefinedError):
        page(content=content)


def test_scripts_blocks_and_data_that_cannot_stand_in_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LamellaError, match="must be base64"):
        page(blocks={"volume-a": "<b>"})
    with pytest.raises(LamellaError, match="must be base64"):
        page(blocks={'a"b': "AAAA"})
    with pytest.raises(LamellaError, match="not finite"):
        page(data={"a": float("nan")})
    monkeypatch.setattr(pages, "web_file", lambda *_: "const a = '</script>';")
    with pytest.raises(LamellaError, match="would end its own element"):
        page()


def test_blocks_stand_last_so_that_the_page_can_be_read_first() -> None:
    made = page(blocks={"volume-a": "QUJD", "volume-b": "REVG"})
    parts = ("<main>", 'id="page-data"', "<script>", 'id="volume-a"', 'id="volume-b"')
    places = [made.index(part) for part in parts]
    assert places == sorted(places)


def test_presets_are_those_of_the_project() -> None:
    presets = {one["name"]: (one["centre"], one["width"]) for one in viewer_windows()}
    assert presets == {name: (window.centre_hu, window.width_hu) for name, window in WINDOWS.items()}


def test_the_best_is_marked_for_eyes_and_ears_and_explained_for_both() -> None:
    row = Row("RMSE", [Cell("1.0", True, "0.9 to 1.1"), Cell("2.0"), Cell("")], "HU", "What it says.")
    tables = [Table(name, "Errors", "Errors", ["A", "B", "C"], [row, row], True) for name in ("a", "b")]
    made = evaluation("words", tables)
    made = made[made.index('<section id="pooled">') : made.index('<section id="case">')]
    assert made.count('<td class="best"><b>1.0</b><span class="aloud"> best</span><small>0.9 to 1.1</small></td>') == 4
    assert made.count('aria-label="none"') == 4
    outline = Outline(made)
    described = [a["aria-describedby"] for _, a in outline.elements if "aria-describedby" in a]
    tips = [a["id"] for _, a in outline.elements if a.get("role") == "tooltip"]
    assert described == tips
    assert len(set(tips)) == 4


@pytest.mark.parametrize(
    ("value", "digits", "plus", "text"),
    [
        (-1.26, 1, False, "\u22121.3"),
        (-0.04, 1, False, "0.0"),
        (0.04, 1, True, "0.0"),
        (2.0, 0, True, "+2"),
        (3.14, 1, False, "3.1"),
    ],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value: float, digits: int, plus: bool, text: str) -> None:
    assert number(value, digits, plus=plus) == text


def test_a_plot_takes_the_colours_of_the_page() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#0072b2")
    axes.set_xlabel("across", color="#1b2430")
    first, second = plot_of(figure, "one", "words").svg, plot_of(figure, "two", "words").svg
    assert "var(--curve-0)" in first
    assert "var(--ink)" in first
    assert ">across<" in first  # letters, not outlines
    assert "#0072b2" not in first.lower()
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])
    assert plot_of(figure, "one", "words").svg == first
