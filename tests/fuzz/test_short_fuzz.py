"""A few thousand executions of every fuzz target, from the seeds: what `make fuzz` does for long."""

from __future__ import annotations

import importlib.util

import pytest
from tests.fuzz import dicom_files, run
from tests.fuzz.targets import TARGETS

from lamella.dicom.decode import SYNTAXES
from lamella.sources.source import read_source

# SPEC C6

RUNS = {"dicom": 2500, "folder": 2000, "zip": 2500, "nifti": 5000}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is there for Linux only")
@pytest.mark.parametrize("name", run.NAMES)
def test_a_short_run_finds_nothing(tmp_path, name):
    executed, finding = run.fuzz(name, RUNS[name], tmp_path, "-seed=1")
    assert not finding, finding
    assert executed >= RUNS[name]
    assert len(list((tmp_path / name).iterdir())) > 50  # inputs that reached new code: the fuzzer sees the reader


def test_seeds_have_every_transfer_syntax_and_are_read(tmp_path):
    assert set(SYNTAXES) == dicom_files.SYNTAXES
    target = TARGETS["dicom"]
    for data in target.seeds().values():
        assert len(read_source(target.lay(tmp_path, data)).hu) in (2, 3)


def test_every_target_is_run(tmp_path):
    assert set(TARGETS) == set(run.NAMES)
    for target in TARGETS.values():
        for data in target.seeds().values():
            target.run(tmp_path, data)
