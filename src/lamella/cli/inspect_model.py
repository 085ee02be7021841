"""`lamella inspect` on a model folder or a checkpoint: tensors, parameters, state."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any


def of_model(folder: Path) -> tuple[dict[str, Any], str, str | None]:
    """(facts, the same for people, what is wrong) of a model folder."""
    from lamella.models.facts import model_facts

    facts = model_facts(folder)
    wrong = None
    if not facts.intact:
        wrong = (
            f"The weights of model {facts.name} are not the ones its card describes: SHA-256 {facts.sha256}, expected "
            f"{facts.card['weights_sha256']}. Copy the model folder again."
        )
    settings = facts.card.get("settings", {})
    lines = [
        f"{facts.name} (model, {facts.kind}): licence {facts.licence}, weights {', '.join(facts.dtypes)}",
        f"  SHA-256 {facts.sha256}, {'as' if facts.intact else 'NOT as'} its card says",
        *_networks(facts.tensors, facts.parameters),
        *(f"  {key}: {value}" for key, value in settings.items()),
    ]
    return asdict(facts), "\n".join(lines), wrong


def of_checkpoint(path: Path) -> tuple[dict[str, Any], str, str | None]:
    """(facts, the same for people, what is wrong) of a checkpoint."""
    from lamella.models.facts import checkpoint_facts

    facts = checkpoint_facts(path)
    wrong = None
    if facts.not_finite:
        wrong = f"{len(facts.not_finite)} tensors of {facts.name} hold NaN or infinity, such as {facts.not_finite[0]}."
    rates = ", ".join(f"{rate:.3g}" for rate in facts.learning_rates) or "none"
    lines = [
        f"{facts.name} (checkpoint): step {facts.step}, epoch {facts.epoch}, {facts.size_bytes / 1e6:.1f} MB",
        *_networks(facts.tensors, facts.parameters),
        f"  learning rate {rates}; holds {', '.join(facts.holds)}",
        f"  {'every weight is finite' if wrong is None else wrong}",
    ]
    return asdict(facts), "\n".join(lines), wrong


def _networks(tensors: dict[str, int], parameters: dict[str, int]) -> list[str]:
    return [f"  {name}: {tensors[name]} tensors, {parameters[name]:,} parameters" for name in sorted(tensors)]
