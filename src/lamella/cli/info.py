"""`lamella info`: what this installation is and can do. Asks nothing of the network."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lamella import __version__
from lamella.cli.options import RESEARCH_ONLY, Debug, Json, Quiet

_PACKAGES = ("torch", "numpy", "scipy", "pydicom", "imagecodecs", "nibabel", "safetensors", "lightning")


def info(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print versions, devices, models and the DICOM encodings that can be read."""
    found = gathered()
    print(json.dumps(found, indent=2) if as_json else _text(found))


def gathered() -> dict[str, Any]:
    """Everything `lamella info` knows, as plain JSON types."""
    import psutil
    import torch
    from pydicom.uid import UID

    from lamella.dicom.decode import READABLE
    from lamella.model import list_models

    return {
        "lamella": __version__,
        "notice": RESEARCH_ONLY,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": ["cpu", *(f"cuda:{n} {torch.cuda.get_device_name(n)}" for n in range(torch.cuda.device_count()))],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "models": [{"name": entry.name, "sha256": entry.sha256, "licence": entry.licence} for entry in list_models()],
        "transfer_syntaxes": sorted(UID(syntax).name for syntax in READABLE),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(found: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items() if number)
    models = ", ".join(f"{one['name']} ({one['sha256'][:12]}, {one['licence']})" for one in found["models"]) or "none"
    return "\n".join(
        [
            f"lamella {found['lamella']}  {found['notice']}",
            f"python {found['python']} on {found['platform']}",
            packages,
            f"devices: {', '.join(found['devices'])}; {found['cores']} cores, {found['threads']} threads, "
            f"{found['memory_bytes'] / 2**30:.1f} GiB memory",
            f"models: {models}",
            f"reads: {', '.join(found['transfer_syntaxes'])}; NIfTI",
        ]
    )
