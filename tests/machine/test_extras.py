"""A missing optional package is an error that names the extra."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lamella.errors import UsageError
from lamella.machine.extras import EXTRAS, missing, require

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMPORTED_AS = {"pyyaml": "yaml", "scikit-image": "skimage"}


def names(requirements: list[str]) -> set[str]:
    """What is imported of requirements; torch and Lamella's own extras left out."""
    found = {re.split(r"[\[<>=!~ ]", one)[0].lower() for one in requirements}
    return {IMPORTED_AS.get(name, name).replace("-", "_") for name in found - {"lamella", "torch"}}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_is_that_of_the_project(extra: str) -> None:
    assert set(EXTRAS[extra]) == names(PROJECT["optional-dependencies"][extra])


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_installed_is_not_asked_for(extra: str) -> None:
    assert missing(extra) == []
    require(extra, "Anything")


@pytest.mark.parametrize(("extra", "package"), [(extra, name) for extra, every in EXTRAS.items() for name in every])
def test_a_hidden_package_is_an_error_that_names_the_extra(
    extra: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"A page needs .*Found no {package}; .*pip install 'lamella\[{extra}\]'"):
        require(extra, "A page")


def test_looking_imports_nothing() -> None:
    code = (
        "import sys; from lamella.machine.extras import EXTRAS, missing\n"
        "found = [name for extra in EXTRAS for name in (missing(extra), *EXTRAS[extra]) if name in sys.modules]\n"
        "sys.exit(str(found) if found else 0)"
    ).replace("(missing(extra), *EXTRAS[extra])", "[*missing(extra), *EXTRAS[extra]]")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_base_requirement_is_imported() -> None:
    source = Path(__file__).parents[2] / "src" / "lamella"
    text = "\n".join(file.read_text(encoding="utf-8") for file in source.rglob("*.py"))
    unused = [
        name for name in names(PROJECT["dependencies"]) if not re.search(rf"^ *(import|from) {name}\b", text, re.M)
    ]
    assert unused == []
