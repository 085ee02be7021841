"""MAISI's checkpoint as a codec on disk: both wrappings, refusals, round trip, the verb."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from lamella.cli import main
from lamella.codecs import maisi
from lamella.codecs.folder import load_codec, save_codec
from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.codecs.maisi import import_maisi, maisi_settings
from lamella.errors import ModelError, UsageError
from lamella.models.registry import verify
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings
from lamella.networks.folder import CARD, WEIGHTS

SMALL = dataclasses.replace(
    maisi_settings(), network=AutoencoderSettings(channels=(4, 4, 8), blocks=(1, 1, 1), groups=2)
)
ABOUT = {"licence": "test", "description": "random"}
Tensors = dict[str, Tensor]

SAFE = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 10)
pytestmark = pytest.mark.skipif(not SAFE, reason="this torch is given no foreign checkpoints")


@pytest.fixture
def tensors() -> Tensors:
    return Autoencoder(SMALL.network).state_dict()


def saved(path: Path, held: Any) -> Path:
    torch.save(held, path)
    return path


# SPEC A7 B1
def test_the_full_size_loads_strictly(tmp_path: Path) -> None:
    tensors = Autoencoder(AutoencoderSettings()).state_dict()
    codec = import_maisi(saved(tmp_path / "autoencoder.pt", {"unet_state_dict": tensors, "epoch": 3}))
    found = codec.network.state_dict()
    assert len(found) == 130
    assert sum(v.numel() for v in found.values()) == 20_944_897
    assert all(torch.equal(found[k], v) for k, v in tensors.items())
    assert not any(p.requires_grad for p in codec.network.parameters())
    assert not codec.network.training


def test_an_old_torch_is_given_no_foreign_checkpoint(
    tensors: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.pt", tensors)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(UsageError, match=r"Found torch 2\.9\.1\+cpu, expected 2\.10 or newer"):
        import_maisi(path, SMALL)


# SPEC A7 B12
@pytest.mark.parametrize(
    "wrap", [lambda t: t, lambda t: {"unet_state_dict": t}, lambda t: {"state_dict": t, "epoch": 1}]
)
def test_every_wrapping_and_the_folder_give_the_same_codec(
    wrap: Callable[[Tensors], Any], tensors: Tensors, tmp_path: Path
) -> None:
    codec = import_maisi(saved(tmp_path / "a.pt", wrap(tensors)), SMALL)
    save_codec(tmp_path / "codec", codec, ABOUT)
    verify(tmp_path / "codec")
    again = load_codec(tmp_path / "codec")
    assert again.settings == SMALL
    assert (again.settings.low_hu, again.settings.high_hu, again.settings.axes) == (-1000, 1000, "ras_xyz")
    hu = 500 * torch.randn(1, 1, 9, 8, 10)
    assert torch.equal(again.encode(hu), KlCodec(codec.network, SMALL).encode(hu))
    assert all(torch.equal(v, again.network.state_dict()[k]) for k, v in tensors.items())


def test_half_precision_becomes_float32(tensors: Tensors, tmp_path: Path) -> None:
    half = {k: v.half() for k, v in tensors.items()}
    codec = import_maisi(saved(tmp_path / "a.pt", half), SMALL)
    assert {v.dtype for v in codec.network.state_dict().values()} == {torch.float32}


def test_all_that_does_not_fit_is_listed(tensors: Tensors, tmp_path: Path) -> None:
    del tensors["quant_conv_mu.conv.bias"], tensors["decoder.blocks.0.conv.conv.weight"]
    tensors |= {"extra.weight": torch.zeros(1), "encoder.blocks.0.conv.conv.bias": torch.zeros(5)}
    with pytest.raises(ModelError, match="is not MAISI's autoencoder") as caught:
        import_maisi(saved(tmp_path / "a.pt", tensors), SMALL)
    said = str(caught.value)
    assert "Missing: decoder.blocks.0.conv.conv.weight, quant_conv_mu.conv.bias." in said
    assert "Unexpected: extra.weight." in said
    assert "Other shape: encoder.blocks.0.conv.conv.bias (5,) instead of (4,)." in said


def test_what_is_no_checkpoint_is_refused(tensors: Tensors, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        import_maisi(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(ModelError, match=r"text.pt (cannot be read|holds more than tensors)"):
        import_maisi(tmp_path / "text.pt")
    with pytest.raises(ModelError, match=r"holds more than tensors.*could run code"):
        import_maisi(saved(tmp_path / "code.pt", {"state_dict": Path("code")}))
    with pytest.raises(ModelError, match=r"holds no state dict\. Found a mapping with epoch, loss"):
        import_maisi(saved(tmp_path / "other.pt", {"epoch": 1, "loss": 0.5}))
    with pytest.raises(ModelError, match=r"holds no state dict\. Found Tensor"):
        import_maisi(saved(tmp_path / "tensor.pt", torch.zeros(3)))
    whole = saved(tmp_path / "whole.pt", tensors).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cannot be read"):
        import_maisi(tmp_path / "cut.pt", SMALL)
    tensors["quant_conv_mu.conv.bias"][0] = torch.nan
    with pytest.raises(ModelError, match=r"not finite, in quant_conv_mu\.conv\.bias"):
        import_maisi(saved(tmp_path / "nan.pt", tensors), SMALL)


def test_an_altered_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "codec"
    save_codec(folder, KlCodec(Autoencoder(SMALL.network), SMALL), {**ABOUT, "name": "small"})
    card = yaml.safe_load((folder / CARD).read_text())
    assert (card["name"], card["kind"], card["licence"]) == ("small", "autoencoder", "test")

    def refused(message: str, **changes: object) -> None:
        (folder / CARD).write_text(yaml.safe_dump({**card, **changes}))
        with pytest.raises(ModelError, match=message):
            load_codec(folder)

    refused("not the ones its card describes.*expected 00", weights_sha256="00")
    refused("of another kind. Found 'embedded', expected 'autoencoder'", kind="embedded")
    refused("does not describe CodecSettings.*unit range", settings={**card["settings"], "unit": [1, 0]})
    refused("does not describe CodecSettings. Unknown key settings.colour", settings={**card["settings"], "colour": 1})
    other = {**card["settings"], "network": {**card["settings"]["network"], "latent_channels": 3}}
    refused("do not fit its settings. Missing: none.*Other shape: .*post_quant_conv.conv.bias", settings=other)
    weights = load_file(folder / WEIGHTS)
    weights["quant_conv_mu.conv.bias"][0] = torch.inf
    save_file(weights, folder / WEIGHTS)
    (folder / CARD).write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError, match="not the ones its card describes"):
        load_codec(folder)
    (folder / CARD).write_text("name: x")
    with pytest.raises(ModelError, match="lacks licence, weights_sha256"):
        load_codec(folder)
    with pytest.raises(ModelError, match="cannot be read"):
        load_codec(tmp_path / "nowhere")


def test_a_folder_is_replaced_only_where_it_may_be(tmp_path: Path) -> None:
    codec = KlCodec(Autoencoder(SMALL.network), SMALL)
    save_codec(tmp_path / "codec", codec, ABOUT)
    save_codec(tmp_path / "codec", codec.with_settings(scale=2.5), ABOUT)
    assert load_codec(tmp_path / "codec").settings.scale == 2.5
    with pytest.raises(UsageError, match="OUTPUT exists"):
        save_codec(tmp_path / "codec", codec, ABOUT, overwrite=False)
    with pytest.raises(ModelError, match="needs a licence"):
        save_codec(tmp_path / "other", codec, {})


def test_the_verb_wants_the_terms_accepted(
    tensors: Tensors, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maisi, "maisi_settings", lambda: SMALL)
    file, folder = saved(tmp_path / "autoencoder_v1.pt", tensors), tmp_path / "maisi"
    command = ["models", "import", "maisi", str(file), "--output", str(folder)]
    assert main(command) == 2
    said = capsys.readouterr()
    assert "huggingface.co/nvidia/NV-Generate-CT" in said.out
    assert "--accept-licence" in said.err
    assert not folder.exists()
    assert main([*command, "--accept-licence"]) == 0
    said = capsys.readouterr()
    assert "NVIDIA" in said.out
    assert f"{len(tensors)} tensors" in said.out
    card = yaml.safe_load((folder / CARD).read_text())
    assert card["kind"] == "autoencoder"
    assert "NVIDIA" in card["licence"]
    assert card["source"]["file"] == "autoencoder_v1.pt"
    assert len(card["source"]["sha256"]) == 64
    assert main([*command, "--accept-licence"]) == 2
    assert main(["models", "verify", str(folder)]) == 0
    assert "maisi: complete, SHA-256" in capsys.readouterr().out


def test_the_settings_are_maisis() -> None:
    assert maisi_settings() == CodecSettings(
        AutoencoderSettings((64, 128, 256), (2, 2, 2), 4, 32), -1000, 1000, (0, 1), "ras_xyz", 1.0, (128, 256, 256)
    )
