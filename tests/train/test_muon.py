from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_fit import PLAIN, Numbers, Tiny, noted
from torch import nn

from lamella.errors import UsageError
from lamella.train.fit import fit
from lamella.train.fit_settings import FitSettings
from lamella.train.muon import MuonAdamW, learns_by_muon, orthogonal

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers, loggers and short epochs

SHAPES = {"conv": (24, 20, 3, 3, 3), "first": (24, 5, 3, 3, 3), "thin": (4, 64), "matrix": (32, 48), "bias": (24,)}


def weights() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("shape", [(24, 540), (540, 24), (32, 32)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonal(matrix)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert float(values[len(values) // 10]) > 0.5
    assert float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert float(torch.nn.functional.cosine_similarity((u @ v).flatten(), found.flatten(), dim=0)) > 0.97


def test_large_matrices_alone_learn_by_muon() -> None:
    assert [name for name, one in weights().items() if learns_by_muon(one)] == ["conv", "first", "matrix"]


def test_vectors_learn_as_by_adamw_and_matrices_as_fast() -> None:
    plain, mixed = weights(), weights()
    settings: dict[str, Any] = {"lr": 1e-2, "weight_decay": 0.1}
    one, other = torch.optim.AdamW(plain.values(), **settings), MuonAdamW(mixed.values(), ratio=2.0, **settings)
    before = {name: weight.detach().clone() for name, weight in mixed.items()}
    for _ in range(3):
        for optimizer, those in ((one, plain), (other, mixed)):
            optimizer.zero_grad()
            sum(weight.square().sum() for weight in those.values()).backward()
            optimizer.step()
    for name in SHAPES:
        same = torch.equal(plain[name], mixed[name])
        assert same != learns_by_muon(mixed[name])
        if not same:  # the root mean square of an update is a fifth of the rate, with decay beside it
            update = (mixed[name] - before[name] * (1 - 2e-2 * 0.1) ** 3).square().mean().sqrt()
            assert 0.7 < float(update) / (3 * 2 * 1e-2 * 0.2) < 1.3


def test_a_convolution_learns_alike_in_any_order_of_its_memory() -> None:
    plain, last = (nn.Parameter(torch.ones(16, 16, 3, 3, 3)) for _ in range(2))
    last.data = last.data.to(memory_format=torch.channels_last_3d)
    gradient = torch.randn(plain.shape, generator=torch.Generator().manual_seed(2))
    for one in (plain, last):
        one.grad = gradient.to(memory_format=torch.channels_last_3d) if one is last else gradient.clone()
        MuonAdamW([one], lr=1e-2, ratio=1.0).step()
    torch.testing.assert_close(plain, last)


class Wide(Tiny):
    """One whose middle is a matrix large enough."""

    def __init__(self, settings: FitSettings, notes: Path) -> None:
        super().__init__(settings, notes)
        torch.manual_seed(3)
        self.network = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2))


def wide(folder: Path, **changes: Any) -> Wide:
    settings = FitSettings(**{**PLAIN, **changes})
    folder.mkdir(exist_ok=True)
    module = Wide(settings, folder / "notes")
    fit(folder, module, Numbers(settings.items), Numbers(2, first=1000), settings)
    return module


def test_a_prolonged_run_has_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    # SPEC A18
    wide(tmp_path / "straight", steps=12, hold=1.0, muon=2.0)
    wide(tmp_path / "prolonged", steps=4, hold=1.0, muon=2.0)
    wide(tmp_path / "prolonged", steps=12, hold=1.0, muon=2.0)
    assert noted(tmp_path / "prolonged" / "notes") == noted(tmp_path / "straight" / "notes")
    groups = torch.load(tmp_path / "prolonged" / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [2e-2, 1e-2]
    wide(tmp_path / "plain", steps=12, hold=1.0)
    assert noted(tmp_path / "plain" / "notes") != noted(tmp_path / "straight" / "notes")


@pytest.mark.parametrize(("begun", "other", "expected"), [(4.0, 0.0, "more than 0"), (0.0, 4.0, "0")])
def test_a_run_goes_on_with_the_optimiser_it_was_begun_with(
    tmp_path: Path, begun: float, other: float, expected: str
) -> None:
    # SPEC A18
    wide(tmp_path, steps=4, muon=begun)
    with pytest.raises(UsageError, match=rf"Found muon {other:g}, expected {expected}\."):
        wide(tmp_path, steps=8, muon=other)
