"""Figures are measured again when the code that they depend on changes, and not when words do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.evaluate import resume

CODE = '''
"""A module."""
LIMIT = 3
"""What it means."""

def figure(x):
    """Words."""
    return LIMIT * x  # a comment
'''


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("metrics/error.py", "Words.", "Other words.", False),
        ("metrics/error.py", "What it means.", "Other words.", False),
        ("metrics/error.py", "a comment", "another", False),
        ("metrics/error.py", "LIMIT = 3", "LIMIT = 4", True),
        ("metrics/error.py", "LIMIT * x", "LIMIT + x", True),
        ("cli/thin.py", "LIMIT = 3", "LIMIT = 4", False),
        ("report/page.py", "LIMIT = 3", "LIMIT = 4", False),
    ],
)
def test_the_code_that_counts_is_what_figures_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, again: bool
) -> None:
    for name in ("metrics/error.py", "cli/thin.py", "report/page.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(CODE)
    monkeypatch.setattr(resume.lamella, "__file__", str(tmp_path / "__init__.py"))
    first = resume.code_hash.__wrapped__()
    (tmp_path / file).write_text(CODE.replace(old, new))
    assert (resume.code_hash.__wrapped__() != first) == again


def test_the_rooms_that_do_not_count_exist() -> None:
    root = Path(resume.lamella.__file__).parent
    assert [name for name in resume._NO_FIGURES if not (root / name).exists()] == []
