"""The bill of materials is whole, and every licence in it permissive or named."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "deploy" / "sbom.py"


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_holds_every_dependency_and_permissive_licences(
    sbom: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "bill.json"
    assert sbom.main(file) == 0, capsys.readouterr().out
    bill = json.loads(file.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "lamella")
    names = {sbom.plain(one["name"]) for one in bill["components"]}
    assert {"torch", "numpy", "pydicom", "imagecodecs", "jinja2", "markupsafe", "lightning", "mpmath"} <= names
    assert not names & {"pytest", "ruff", "mypy", "monai", "hypothesis", "sphinx", "lamella"}
    refs = {one["bom-ref"] for one in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {one["ref"] for one in bill["dependencies"]} == refs
    assert {ref for one in bill["dependencies"] for ref in one["dependsOn"]} <= refs
    assert all(one["version"] for one in bill["components"])


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSD-2-Clause", True),
        ("License :: OSI Approved :: BSD License", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", False),
        ("MPL-2.0", False),
        ("", False),
    ],
)
def test_what_counts_as_permissive(sbom: ModuleType, licence: str, expected: bool) -> None:
    assert sbom.is_permissive(licence) is expected


def test_a_component_without_a_licence_is_shown(sbom: ModuleType) -> None:
    assert sbom.restrictive([{"name": "x"}, {"name": "certifi"}]) == {"x": []}
