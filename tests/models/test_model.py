from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from lamella.embedded.model import EmbeddedModel
from lamella.errors import ModelError, UsageError
from lamella.files.atomic import sha256_of
from lamella.models.registry import load_model, verify
from lamella.models.shipped import list_models
from lamella.networks.folder import CARD, WEIGHTS


@pytest.fixture
def folder(small_model: EmbeddedModel, tmp_path: Path) -> Path:
    small_model.save(tmp_path / "model", {"description": "random weights"})
    return tmp_path / "model"


def rewrite(folder: Path, **changes: object) -> None:
    """Change fields of the card."""
    card = yaml.safe_load((folder / CARD).read_text())
    card |= changes
    (folder / CARD).write_text(yaml.safe_dump(card))


def test_a_model_survives_the_round_trip(small_model: EmbeddedModel, folder: Path) -> None:
    loaded = EmbeddedModel.read(folder)
    assert loaded.settings == small_model.settings
    assert loaded.limits == small_model.limits
    assert loaded.calibration == small_model.calibration
    assert loaded.sha256 == sha256_of(folder / WEIGHTS)
    for name, tensor in small_model.flow.state_dict().items():
        assert torch.equal(tensor, loaded.flow.state_dict()[name])
    assert sorted(f.name for f in folder.iterdir()) == [CARD, WEIGHTS]


def test_a_card_from_before_the_flow_could_read_a_summary_is_still_understood(
    small_model: EmbeddedModel, folder: Path
) -> None:
    settings = yaml.safe_load((folder / CARD).read_text())["settings"]
    del settings["flow_hidden"], settings["compand_hu"]
    rewrite(folder, settings=settings)
    assert EmbeddedModel.read(folder).settings == small_model.settings


def test_altered_weights_are_refused(folder: Path) -> None:
    # SPEC C4
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match=r"not the ones its card describes.*SHA-256"):
        EmbeddedModel.read(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("mean.head.out.bias"), r"Missing: head\.out\.bias\. "),
        (lambda t: t.update({"mean.extra": torch.zeros(1)}), r"Unexpected: extra\. "),
        (
            lambda t: t.update({"flow.linear_gain.bias": torch.zeros(3)}),
            r"Other shape: linear_gain\.bias \(3,\) instead of ",
        ),
    ],
)
def test_weights_that_do_not_fit_the_settings_are_listed(folder: Path, spoil: object, message: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    spoil(tensors)  # type: ignore[operator]
    save_file(tensors, folder / WEIGHTS)
    rewrite(folder, weights_sha256=sha256_of(folder / WEIGHTS))
    with pytest.raises(ModelError, match=message):
        EmbeddedModel.read(folder)


def test_weights_that_are_not_finite_fail_verification(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["flow.linear.weight"][0, 0, 0, 0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS)
    rewrite(folder, weights_sha256=sha256_of(folder / WEIGHTS))
    with pytest.raises(ModelError, match=r"flow\.linear\.weight .* not finite"):
        verify(folder)


def test_cards_that_are_no_cards_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="There is no model 'nowhere'"):
        load_model("nowhere")
    rewrite(folder, limits={"colour": 3})
    with pytest.raises(ModelError, match=r"does not describe Limits\. Unknown key limits\.colour"):
        EmbeddedModel.read(folder)
    (folder / CARD).write_text("name: x\n")
    with pytest.raises(ModelError, match="lacks licence, weights_sha256"):
        EmbeddedModel.read(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        EmbeddedModel.read(folder)
    (folder / WEIGHTS).unlink()
    (folder / CARD).write_text(yaml.safe_dump({"name": "x", "licence": "y", "weights_sha256": "z"}))
    with pytest.raises(ModelError, match=f"lacks {WEIGHTS}"):
        EmbeddedModel.read(folder)


def test_the_shipped_model_is_whole_and_small() -> None:
    # SPEC C4
    entries = {entry.name: entry for entry in list_models()}
    assert "embedded" in entries
    assert entries["embedded"].size_bytes < 20_000_000
    verify("embedded")
    model = load_model("embedded")
    assert (model.limits.thickness_mm, model.limits.target_mm) == ((2.0, 10.0), (0.5, 2.5))
    card = yaml.safe_load((entries["embedded"].folder / CARD).read_text())
    assert {"description", "training", "data", "metrics", "limits_in_words", "reproduce"} <= card.keys()
