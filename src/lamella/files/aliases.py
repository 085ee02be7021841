"""Keys of earlier versions in YAML files and in the cards of models, and what they are called now."""

from __future__ import annotations

ALIASES = {
    "sample_calm": "sample_temperature",
}
"""Old key -> key. An old key is read where a dataclass has the new one and not the old one."""
