"""A model as one folder: `weights.safetensors` and `model.yaml`, checked against each other on loading. No pickle."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_type_hints

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lamella.embedded import EmbeddedSettings, FlowNet, MeanScaleNet
from lamella.errors import LamellaError, ModelError, UsageError
from lamella.latent.folder import CARD, WEIGHTS, fill, plain
from lamella.publish import sha256_of

if TYPE_CHECKING:
    from lamella.latent_model import LatentModel

EMBEDDED = "embedded"
"""Kind of a card that names none."""

LATENT = "latent-diffusion"
T = TypeVar("T")
SHIPPED = Path(__file__).parent / "models"
"""Models inside the package."""


@dataclass(frozen=True)
class Limits:
    """What a model was trained for, in mm; outside it `thin` warns, far outside it refuses."""

    thickness_mm: tuple[float, float] = (2.0, 8.0)
    spacing_mm: tuple[float, float] = (2.0, 10.0)
    target_mm: tuple[float, float] = (0.6, 2.0)


@dataclass(frozen=True)
class Calibration:
    """Figures chosen after training, on training and held-out series, never on those of the published figures.

    Attributes:
        noise_share: noise that the measurement leaves open, over what noise white along z would leave (`thinning.noise`).
        scale_limit_hu: HU beyond which the network's scale means less and less: s becomes s / sqrt(1 + (s / limit)^2).
        correction_doubt: share of the scale that counts as the mean's own error: in mode `mean` its correction is
            shrunk where it is small beside that (`thinning.shrink`). 0: nowhere.
        spread: factor from the network's scale to the standard deviation that is reported.
        texture_cap: the texture's scale is capped at this many times the scan's own noise scale.
        noise_gain: factor on the noise that is drawn where it was measured what the mean lacks.
        sample_calm: factor on the part of the scale above the noise level, in `sample`.
    """

    noise_share: float = 0.82
    scale_limit_hu: float = math.inf
    correction_doubt: float = 0.0
    spread: float = 1.0
    texture_cap: float = 1.4
    noise_gain: float = 1.0
    sample_calm: float = 1.0


@dataclass(frozen=True)
class ModelEntry:
    """One line of `lamella models list`."""

    name: str
    folder: Path
    sha256: str
    licence: str
    size_bytes: int
    description: str


@dataclass(frozen=True, eq=False)
class Model:
    """The embedded model, ready to use.

    Attributes:
        name: of the folder's card.
        sha256: of the weights file.
        licence: of the weights.
        settings: shape of the networks.
        limits: geometry it was trained for.
        calibration: figures fitted after training.
        mean: thick slices -> least-error answer and scale.
        flow: raw network of the residual's denoiser.
    """

    name: str
    sha256: str
    licence: str
    settings: EmbeddedSettings
    limits: Limits
    calibration: Calibration
    mean: MeanScaleNet
    flow: FlowNet
    kind: ClassVar[str] = EMBEDDED

    @classmethod
    def load(cls, source: str | Path = "embedded") -> Model:
        """Load a shipped model by name, or a model folder.

        Raises:
            UsageError: no such model.
            ModelError: a file is missing, its SHA-256 differs from the card's, its tensors do not fit the settings, or
                it is a model of another kind.
        """
        folder, card, tensors = open_model(source, EMBEDDED)
        settings = build(EmbeddedSettings, card.get("settings", {}), folder)
        mean, flow = MeanScaleNet(settings), FlowNet(settings)
        fill_part(mean, tensors, "mean.", folder)
        fill_part(flow, tensors, "flow.", folder)
        return cls(
            name=str(card["name"]),
            sha256=str(card["weights_sha256"]),
            licence=str(card["licence"]),
            settings=settings,
            limits=build(Limits, card.get("limits", {}), folder),
            calibration=build(Calibration, card.get("calibration", {}), folder),
            mean=mean.eval().requires_grad_(False),
            flow=flow.eval().requires_grad_(False),
        )

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write weights and card; `about` holds what only the training run knows (data, steps, metrics, commit)."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        tensors |= {f"flow.{k}": v for k, v in self.flow.state_dict().items()}
        save_file({k: v.detach().float().contiguous().clone() for k, v in tensors.items()}, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors makes it private
        card = {
            "name": self.name,
            "licence": self.licence,
            "weights_sha256": sha256_of(folder / WEIGHTS),
            "settings": plain(dataclasses.asdict(self.settings)),
            "limits": plain(dataclasses.asdict(self.limits)),
            "calibration": plain(dataclasses.asdict(self.calibration)),
            **about,
        }
        (folder / CARD).write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")

    def described(self) -> list[dict[str, Any]]:
        """Everything but the weights that decides an answer."""
        return [dataclasses.asdict(part) for part in (self.settings, self.limits, self.calibration)]


def find_model(source: str | Path) -> Path:
    """The folder of a shipped model's name, or of a path.

    Raises:
        UsageError: neither.
    """
    for folder in (SHIPPED / str(source), Path(source)):
        if (folder / CARD).is_file():
            return folder
    names = ", ".join(entry.name for entry in list_models()) or "none"
    raise UsageError(f"There is no model {str(source)!r}. Expected a folder with {CARD}, or one of: {names}.")


def is_shipped(name: str) -> bool:
    """Whether a name is that of a model inside the package, not a folder's."""
    return Path(name).name == name and (SHIPPED / name / CARD).is_file()


def list_models() -> tuple[ModelEntry, ...]:
    """The models inside the package."""
    entries = []
    for card_path in sorted(SHIPPED.glob(f"*/{CARD}")):
        card, folder = read_card(card_path.parent), card_path.parent
        size = sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
        entries.append(
            ModelEntry(
                str(card["name"]),
                folder,
                str(card["weights_sha256"]),
                str(card["licence"]),
                size,
                str(card.get("description", "")),
            )
        )
    return tuple(entries)


def kind_of(source: str | Path) -> str:
    """The kind of a model's card (`EMBEDDED`, `LATENT` or another); raises as `find_model` and `read_card` do."""
    return str(read_card(find_model(source)).get("kind", EMBEDDED))


def open_model(source: str | Path, kind: str) -> tuple[Path, dict[str, Any], dict[str, torch.Tensor]]:
    """Folder, card and tensors of a model, once its kind and its SHA-256 are right.

    Raises:
        UsageError: no such model.
        ModelError: a file is missing, no safetensors, altered, or the model is of another kind.
    """
    folder = find_model(source)
    card = read_card(folder)
    has = card.get("kind", EMBEDDED)
    if has != kind:
        raise ModelError(
            f"The model {folder.name} is of another kind. Found {has!r}, expected {kind!r}. File {folder / CARD}."
        )
    weights = folder / WEIGHTS
    found = sha256_of(weights)
    if found != card.get("weights_sha256"):
        raise ModelError(
            f"The weights of model {folder.name} are not the ones its card describes. File {weights}: SHA-256 "
            f"{found}, expected {card.get('weights_sha256')}. Reinstall Lamella, or copy the model folder again."
        )
    try:
        return folder, card, load_file(weights)
    except SafetensorError as error:
        raise ModelError(f"The weights {weights} are no safetensors file. Copy the model folder again.") from error


def verify(source: str | Path) -> Model | LatentModel:
    """Load a model and check that every weight is finite.

    Raises:
        ModelError: anything is missing, altered or not finite.
    """
    from lamella.latent_model import LatentModel, load_any  # which builds on this file

    model = load_any(source)
    networks: dict[str, nn.Module] = (
        {"autoencoder": model.codec.network, "unet": model.unet}
        if isinstance(model, LatentModel)
        else {"mean": model.mean, "flow": model.flow}
    )
    for prefix, network in networks.items():
        for name, tensor in network.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise ModelError(f"Tensor {prefix}.{name} of model {model.name} holds values that are not finite.")
    return model


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder.

    Raises:
        ModelError: it is not a YAML mapping with a name, a licence and a checksum, or the weights are missing.
    """
    try:
        card = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"The card {folder / CARD} cannot be read: {type(error).__name__}.") from error
    lacking = [k for k in ("name", "licence", "weights_sha256") if not isinstance(card, dict) or k not in card]
    if lacking:
        raise ModelError(f"The card {folder / CARD} lacks {', '.join(lacking)}.")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"Model folder {folder} lacks {WEIGHTS}.")
    return dict(card)


def fill_part(network: nn.Module, tensors: dict[str, torch.Tensor], prefix: str, folder: Path) -> None:
    """Fill one network of a model from the tensors whose names begin with `prefix`; see `fill`."""
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    fill(network, own, f"The weights in {folder} do not fit its settings ({prefix[:-1]} network).")


def build(kind: type[T], values: Any, folder: Path) -> T:
    """Fill a dataclass, and the dataclasses within it, from a card.

    Raises:
        ModelError: not a mapping, an unknown field, or values that its class refuses.
    """
    if not isinstance(values, dict):
        raise ModelError(f"The card in {folder} lacks {kind.__name__}: expected a mapping, found {values!r}.")
    hints = get_type_hints(kind)
    unknown = sorted(set(map(str, values)) - set(hints))
    if unknown:
        raise ModelError(f"The card in {folder} has unknown {kind.__name__} fields: {', '.join(unknown)}.")
    filled = {
        name: build(hints[name], value, folder) if dataclasses.is_dataclass(hints[name]) else _tuples(value)
        for name, value in values.items()
    }
    try:
        return kind(**filled)
    except (LamellaError, TypeError) as error:
        raise ModelError(f"The card in {folder} does not describe {kind.__name__}. {error}") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
