"""A raw data set, and the same prepared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.raw_studies import settings, study, zipped

from lamella.data.prepare import prepare


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """APE/1.zip and non-APE/2.zip are sound; 3 has no thick series, 4 two scans, 5 is no ZIP of images."""
    root = tmp_path_factory.mktemp("raw")
    for seed, name in ((1, "APE/1.zip"), (2, "non-APE/2.zip")):
        zipped(study(root / f"study{seed}", seed), root / name)
    zipped(root / "study1" / "b", root / "APE" / "3.zip")
    shutil.copytree(root / "study1" / "a", root / "mixed" / "a")
    shutil.copytree(root / "study2" / "b", root / "mixed" / "b")
    zipped(root / "mixed", root / "APE" / "4.zip")
    (root / "APE" / "5.zip").write_bytes(b"PK\x03\x04 cut off")
    return root


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "set"
    prepared = prepare(settings(raw, out))
    assert (prepared.cases, prepared.made, len(prepared.rejected), prepared.failed) == (2, 2, 3, ())
    return out
