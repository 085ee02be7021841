"""A latent diffusion model as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tests.small_latent import small_codec, small_latent_model

from lamella.cli import main
from lamella.codecs.folder import save_codec
from lamella.embedded.model import EmbeddedModel
from lamella.errors import ModelError
from lamella.files.atomic import sha256_of
from lamella.latent_diffusion.model import LatentModel
from lamella.models.registry import load_model, verify
from lamella.networks.folder import CARD, WEIGHTS, read_card


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_latent_model().save(tmp_path / "latent", {"description": "random weights"})
    return tmp_path / "latent"


def rewrite(folder: Path, **changes: object) -> None:
    """Change fields of the card."""
    card = yaml.safe_load((folder / CARD).read_text())
    (folder / CARD).write_text(yaml.safe_dump(card | changes))


def test_a_model_survives_the_round_trip(folder: Path) -> None:
    first, loaded = small_latent_model(), load_model(folder)
    assert isinstance(loaded, LatentModel)
    assert read_card(folder)["kind"] == "latent-diffusion"
    assert (loaded.settings, loaded.limits) == (first.settings, first.limits)
    assert loaded.codec.settings == first.codec.settings
    assert loaded.sha256 == sha256_of(folder / WEIGHTS)
    for name, tensor in first.unet.state_dict().items():
        assert torch.equal(tensor, loaded.unet.state_dict()[name])
    for name, tensor in first.codec.network.state_dict().items():
        assert torch.equal(tensor, loaded.codec.network.state_dict()[name])
    block, t = torch.randn(1, 8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([7.0])
    # whatever the network keeps beside its weights is right, too
    torch.testing.assert_close(loaded.unet(block, t), first.unet(block, t), rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in loaded.unet.parameters())
    assert sorted(f.name for f in folder.iterdir()) == [CARD, WEIGHTS]


def test_the_names_say_whose_a_tensor_is(folder: Path) -> None:
    assert {name.split(".")[0] for name in load_file(folder / WEIGHTS)} == {"autoencoder", "unet"}


def test_altered_weights_are_refused(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match=r"not the ones its card describes.*SHA-256"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("drop", "unet."), r"\(unet network\). Missing: \S+"),
        (("drop", "autoencoder."), r"\(autoencoder network\). Missing: \S+"),
        (("add", "unet.extra"), "Unexpected: extra"),
        (("add", "vae.extra"), "tensors of no network of this model: vae.extra"),
    ],
)
def test_weights_that_do_not_fit_are_listed(folder: Path, change: tuple[str, str], message: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    if change[0] == "drop":
        tensors.pop(next(name for name in tensors if name.startswith(change[1])))
    else:
        tensors[change[1]] = torch.zeros(1)
    save_file(tensors, folder / WEIGHTS)
    rewrite(folder, weights_sha256=sha256_of(folder / WEIGHTS))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_a_card_that_is_wrong_is_refused(folder: Path) -> None:
    card = yaml.safe_load((folder / CARD).read_text())
    rewrite(folder, settings=card["settings"] | {"depth": 3})
    with pytest.raises(ModelError, match=r"does not describe LatentDiffusionSettings\. Unknown key settings\.depth"):
        load_model(folder)
    rewrite(folder, settings=card["settings"] | {"unet": card["settings"]["unet"] | {"in_channels": 4}})
    with pytest.raises(ModelError, match="Found 4 channels in and 4 out, expected 8 in"):
        load_model(folder)
    rewrite(folder, settings=card["settings"], codec=card["codec"] | {"scale": -1.0})
    with pytest.raises(ModelError, match="latent scale must be a positive number"):
        load_model(folder)
    rewrite(folder, codec=None)
    with pytest.raises(ModelError, match=r"does not describe CodecSettings\. codec must be a mapping"):
        load_model(folder)


@pytest.mark.parametrize("key", ["settings", "codec"])
def test_a_card_without_its_settings_is_refused(folder: Path, key: str) -> None:
    # defaults would be those of another model: another head, another schedule
    card = yaml.safe_load((folder / CARD).read_text())
    del card[key]
    (folder / CARD).write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError, match=f"lacks {key}"):
        LatentModel.read(folder)


def test_kinds_are_told_apart(folder: Path, small_model: EmbeddedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"of another kind. Found 'latent-diffusion', expected 'embedded'"):
        EmbeddedModel.read(folder)
    small_model.save(tmp_path / "embedded", {})
    assert isinstance(load_model(tmp_path / "embedded"), EmbeddedModel)
    with pytest.raises(ModelError, match=r"Found 'embedded', expected 'latent-diffusion'"):
        LatentModel.read(tmp_path / "embedded")
    save_codec(tmp_path / "codec", small_codec(), {"licence": "Apache-2.0"})
    with pytest.raises(ModelError, match=r"Found kind 'autoencoder', expected one of embedded, latent-diffusion"):
        load_model(tmp_path / "codec")


def test_the_verb_verifies_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", str(folder)]) == 0
    assert f"complete, SHA-256 {sha256_of(folder / WEIGHTS)}" in capsys.readouterr().out


def test_weights_that_are_not_finite_are_found(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if name.startswith("unet."))
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, folder / WEIGHTS)
    rewrite(folder, weights_sha256=sha256_of(folder / WEIGHTS))
    with pytest.raises(ModelError, match=rf"Tensor {name} of model small latent holds values that are not finite"):
        verify(folder)
