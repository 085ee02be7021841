"""Bill of materials of what users install, and a look at its licences: `python deploy/sbom.py FILE.json`.

CycloneDX JSON of the environment that runs this script, without the tools of tests and documents. Ends with 1 where a
licence is neither permissive nor named in `NAMED`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOR_USERS = ("report", "train", "latent", "node", "cluster")
"""Extras of pyproject.toml that are no tools of development."""

PERMISSIVE = re.compile(
    r"MIT|MIT-CMU|BSD|0BSD|BSD-[123]-Clause|BSD License|Apache|Apache-2\.0|Apache Software License|LLVM-exception|PSF-2\.0|"
    r"Python-2\.0|CNRI-Python|Python Software Foundation License|ISC|ISC License \(ISCL\)|Zlib|CC0-1\.0|HPND|Unlicense|"
    r"BSL-1\.0"
)

NAMED = {
    "certifi": "MPL-2.0: a list of certificates, used unchanged",
    "tqdm": "MPL-2.0 AND MIT: used unchanged",
    "protobuf": "BSD-3-Clause, which its metadata does not say",
    "PySocks": "BSD-3-Clause, which its metadata does not say",
    "ray": "Apache-2.0, which its metadata says in words of its own",
}
"""Licences that were looked at by a person; nvidia-* (only with CUDA builds of torch) are NVIDIA's own."""


def bill() -> dict[str, Any]:
    """CycloneDX of this environment, cut to what Lamella needs of it."""
    words = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*words, "--output-reproducible", sys.executable], capture_output=True, text=True, check=True)
    whole: dict[str, Any] = json.loads(done.stdout)
    needs = needed()
    whole["components"] = [one for one in whole["components"] if plain(one["name"]) in needs]
    refs = {plain(one["name"]): one["bom-ref"] for one in whole["components"]}
    refs["lamella"] = whole["metadata"]["component"]["bom-ref"]
    edges = {ref: sorted(refs[one] for one in needs[name] if one in refs) for name, ref in refs.items()}
    whole["dependencies"] = [{"ref": ref, "dependsOn": edges[ref]} for ref in sorted(edges)]
    return whole


def needed() -> dict[str, set[str]]:
    """What Lamella and each of its dependencies needs on this machine, extras only where they are asked for."""
    found: dict[str, set[str]] = {}
    wanted = [("lamella", FOR_USERS)]
    while wanted:
        name, extras = wanted.pop()
        try:
            stated = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        needs = [
            one for one in stated if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras))
        ]
        new = {plain(one.name) for one in needs} - found.setdefault(name, set()) - {name}
        found[name] |= new
        wanted += [(plain(one.name), tuple(one.extras)) for one in needs if plain(one.name) in new]
    return found


def plain(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licences(component: dict[str, Any]) -> list[str]:
    """The licences that a component states."""
    stated = component.get("licenses", [])
    return [one.get("expression") or one["license"].get("id") or one["license"].get("name") or "" for one in stated]


def is_permissive(licence: str) -> bool:
    """Whether every part of a statement is; for OR one is enough."""
    text = licence.removeprefix("License :: OSI Approved :: ")
    if " OR " in text and "(" not in text:
        return any(is_permissive(one) for one in text.split(" OR "))
    parts = [one.strip("() ") for one in re.split(r" AND | OR | WITH ", text)]
    return all(PERMISSIVE.fullmatch(one) or PERMISSIVE.fullmatch(text) for one in parts)


def restrictive(components: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Components whose licences are neither permissive nor named."""
    return {
        one["name"]: licences(one)
        for one in components
        if one["name"] not in NAMED
        and not one["name"].startswith("nvidia-")
        and not (licences(one) and all(map(is_permissive, licences(one))))
    }


def main(file: Path) -> int:
    """Write the bill, say what is in it."""
    found = bill()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    open_ones = restrictive(found["components"])
    print(f"{len(found['components'])} components in {file}; licences to look at: {open_ones or 'none'}")
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
