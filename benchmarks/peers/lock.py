"""Pin what a peer's environment holds: requirements.in -> requirements.txt, every package with its version and SHA-256.

python benchmarks/peers/lock.py benchmarks/peers/*/
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAD = """# Made by lock.py from requirements.in, for Linux on x86-64 and Python {python}; do not edit.
# torch is the build without CUDA: pip finds it with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
"""


def main() -> int:
    for folder in map(Path, sys.argv[1:]):
        asked = folder / "requirements.in"
        if asked.is_file():
            words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--only-binary", ":all:", "--report", "-"]
            done = subprocess.run(
                [sys.executable, "-m", "pip", *words, "--requirement", asked.name],
                cwd=folder,
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            found = sorted(map(_pinned, json.loads(done.stdout)["install"]))
            python = ".".join(map(str, sys.version_info[:2]))
            (folder / "requirements.txt").write_text(HEAD.format(python=python) + "".join(found), encoding="utf-8")
    return 0


def _pinned(package: dict[str, dict[str, object]]) -> str:
    about, archive = package["metadata"], package["download_info"]["archive_info"]
    assert isinstance(archive, dict)
    return f"{str(about['name']).lower()}=={about['version']} --hash=sha256:{archive['hashes']['sha256']}\n"


if __name__ == "__main__":
    raise SystemExit(main())
