"""Optional parts of the installation, and the error of one that is missing."""

from __future__ import annotations

from importlib.util import find_spec

from lamella.errors import UsageError

EXTRAS = {
    "report": ("matplotlib", "jinja2"),
    "evaluate": ("skimage",),
    "map": ("highdicom",),
    "cluster": ("ray",),
    "node": ("pynetdicom", "dicomweb_client", "starlette", "uvicorn", "prometheus_client"),
    "train": ("lightning", "tensorboard", "blosc2"),
}
"""Extra -> the packages it brings, by their import names; tests compare them with pyproject.toml."""


def missing(extra: str) -> list[str]:
    """Packages of an extra that are not installed; none of them is imported."""
    return [name for name in EXTRAS[extra] if find_spec(name) is None]


def require(extra: str, purpose: str) -> None:
    """Refuse what an extra is needed for, before any work.

    Args:
        extra: a key of `EXTRAS`.
        purpose: begins the message: "Training", "A preview".

    Raises:
        UsageError: a package of the extra is not installed.
    """
    if absent := missing(extra):
        raise UsageError(
            f"{purpose} needs an optional part of Lamella that is not installed. Found no {', '.join(absent)}; "
            f"expected the extra {extra!r}. Run: pip install 'lamella[{extra}]'"
        )
