"""Runs a folder of input cases: each made by a generator, thinned (or refused), and judged by the folder's own `check.py`.

    python benchmarks/cases.py FOLDER [NAME ...]

`python FOLDER/NAME.py DIR` writes DIR/in (a folder or a file; or DIR/in.nii.gz and so on), truth.npz and expect.json.
`python FOLDER/check.py DIR OUT` says by its exit code whether OUT is right. Here expect.json is not looked at: dry run,
`inspect` and run get SOURCE as it is, and must end alike. Prints a line a case; exit code 1 where one is wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

LAMELLA, CHECK = (sys.executable, "-m", "lamella"), "check"


def run(*words: str | Path) -> tuple[int, str]:
    """Exit code, and the last line of what was said."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, ((done.stderr.strip() or done.stdout.strip()).splitlines() or [""])[-1]


def case(generator: Path, folder: Path) -> tuple[bool, str]:
    """(whether it is right, what is said about it) of one case, made and answered within a folder."""
    code, said = run(sys.executable, generator, folder)
    sources = [path for path in folder.iterdir() if path.name.split(".")[0] == "in"]
    if code or len(sources) != 1:
        return False, f"the generator ended with {code} and made {len(sources)} sources: {said}"
    out = folder / ("out.nii.gz" if sources[0].name.endswith((".nii", ".nii.gz")) else "out")
    thin = (*LAMELLA, "thin", sources[0], out, "--quiet")
    before = run(*thin, "--dry-run")[0], run(*LAMELLA, "inspect", sources[0], "--quiet")[0]
    code, said = run(*thin)
    wrong, judged = run(sys.executable, generator.with_name(f"{CHECK}.py"), folder, out)
    alike = "" if {*before} == {code} else f", dry run {before[0]}, inspect {before[1]}"
    return not wrong and not alike, f"exit {code}{alike}; {judged or 'check says nothing'}; {said[:160]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    found = {one.stem: one for one in sorted(given.folder.resolve().glob("*.py")) if one.stem != CHECK}
    results = []
    for name in given.names or found:
        with tempfile.TemporaryDirectory() as folder:
            right, said = case(found[name], Path(folder))
        results.append(right)
        print(f"{'right' if right else 'WRONG'}  {name}: {said}", flush=True)
    return int(not results or not all(results))


if __name__ == "__main__":
    sys.exit(main())
