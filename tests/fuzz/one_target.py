"""One fuzz target under libFuzzer: `python -m tests.fuzz.one_target NAME SCRATCH [libFuzzer's arguments]`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["lamella.dicom", "lamella.nifti", "lamella.sources"], enable_loader_override=False
):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Runs until libFuzzer ends the process, without a chance to clean up: SCRATCH is the caller's."""
    program, name, scratch, *words = sys.argv
    target, folder = TARGETS[name], Path(scratch)
    seeds = folder / "seeds"
    seeds.mkdir()
    for seed, data in target.seeds().items():
        (seeds / seed).write_bytes(data)
    atheris.Setup(
        [program, *words, str(seeds)],
        lambda data: target.run(folder, data),
        custom_mutator=lambda data, most, seed: target.mutate(data, most, seed, atheris.Mutate),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
