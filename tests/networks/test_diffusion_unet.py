from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.errors import LamellaError, UsageError
from lamella.networks.diffusion_unet import AttentionAlongZ, DiffusionUNet, DiffusionUNetSettings, preset, time_features

TINY = DiffusionUNetSettings(
    width=8, multipliers=(1, 2, 2), blocks=1, attention_levels=(1, 2), heads=2, time_embedding=16
)


def awake(network: DiffusionUNet | AttentionAlongZ, seed: int = 0) -> None:
    """No weight is zero, so that every path is seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / max(1, p[0].numel()) ** 0.5)


def tiny(checkpoint: bool = False) -> DiffusionUNet:
    network = DiffusionUNet(replace(TINY, checkpoint=checkpoint))
    awake(network)
    return network


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Blocks this small are slower on several threads, much so where the cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("medium", 599e6 * 0.98, 599e6 * 1.02),
        ("base", 270e6 * 0.98, 270e6 * 1.02),
        ("small", 10e6, 20e6),
        ("smoke", 0, 1e6),
    ],
)
def test_presets_have_their_size(name: str, low: float, high: float) -> None:
    # SPEC A10, B2
    with torch.device("meta"):
        network = DiffusionUNet(preset(name))
    assert low <= sum(p.numel() for p in network.parameters()) <= high


def test_medium_is_the_reference() -> None:
    # SPEC A9, B2
    assert preset("medium") == DiffusionUNetSettings()
    s = preset("medium")
    assert (s.in_channels, s.out_channels, s.width, s.multipliers, s.blocks) == (8, 4, 192, (1, 2, 4, 4), 2)
    assert (s.attention_levels, s.heads, s.time_embedding) == ((1, 2), 8, 1024)
    with torch.device("meta"):
        network = DiffusionUNet(s)
        out = network(torch.empty(1, 8, 75, 128, 128), torch.empty(1))
        # in-plane down-sampling only: the middle sees 75 cells along z, 16 x 16 in the plane
        seen: list[torch.Size] = []
        network.middle.blocks[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
        network(torch.empty(1, 8, 75, 128, 128), torch.empty(1))
    assert out.shape == (1, 4, 75, 128, 128)
    assert seen == [(1, 768, 75, 16, 16)]


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no U-Net preset 'mediun'.*medium, base, small, smoke; nearest: medium"):
        preset("mediun")


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 7), (7, 12, 24), (13, 1, 5)])
def test_any_depth_and_any_plane(shape: tuple[int, int, int]) -> None:
    # SPEC A9
    network = tiny()
    x, t = normal(2, 8, *shape), torch.tensor([0.0, 999.0])
    out = network(x, t)
    assert out.shape == (2, 4, *shape)
    # the padding repeats edges, at the end, and is cropped
    y, w = -shape[1] % 4, -shape[2] % 4
    padded = network(F.pad(x, (0, w, 0, y, 0, 0), mode="replicate"), t)
    torch.testing.assert_close(out, padded[..., : shape[1], : shape[2]])


def test_attention_leaves_columns_alone() -> None:
    # SPEC B3
    layer = AttentionAlongZ(8, heads=2)
    awake(layer)
    layer.requires_grad_(False)
    x, time = normal(1, 8, 6, 3, 5), torch.zeros(1, 16)

    def attended(value: Tensor) -> Tensor:
        out: Tensor = layer(value, time)
        return out

    # normalisation looks at the whole block, but not at the order of its columns: columns permuted, answer permuted
    order = torch.randperm(15, generator=torch.Generator().manual_seed(2))

    def shuffled(value: Tensor) -> Tensor:
        return value.flatten(3)[..., order].view_as(value)

    torch.testing.assert_close(attended(shuffled(x)), shuffled(attended(x)))
    # with normalisation out of the way no column sees another
    layer.norm = torch.nn.Identity()  # type: ignore[assignment]
    changed = x.clone()
    changed[..., 1, 2] += 1
    difference = (attended(changed) - attended(x)).abs().amax(dim=(0, 1, 2))
    assert difference[1, 2] > 0.1
    difference[1, 2] = 0
    assert float(difference.max()) < 1e-6
    # within a column every place is seen, and the order along z matters
    changed = x.clone()
    changed[0, :, 0, 1, 2] += 1
    assert bool(((attended(changed) - attended(x))[0, :, :, 1, 2].abs().amax(dim=0) > 1e-4).all())
    assert not torch.allclose(attended(x.flip(2)), attended(x).flip(2), atol=1e-3)


def test_attention_knows_distances_only() -> None:
    layer = AttentionAlongZ(8, heads=2)
    awake(layer)
    layer.norm = torch.nn.Identity()  # type: ignore[assignment]
    time = torch.zeros(1, 16)
    once = normal(1, 8, 1, 1, 1)
    # the same content everywhere: each place attends to equal values, so its answer is that of a column of one
    torch.testing.assert_close(layer(once.expand(-1, -1, 9, -1, -1), time), layer(once, time).expand(-1, -1, 9, -1, -1))


def test_attention_by_hand() -> None:
    """Against softmax(q k / sqrt(n)) v written out, in the rotated frame of each pair of places."""
    layer = AttentionAlongZ(8, heads=2).double()
    awake(layer)
    x = normal(1, 8, 4, 1, 1).double()
    q, k, v = layer.qkv(layer.norm(x)[0, :, :, 0, 0].T).view(4, 3, 2, 4).unbind(1)  # (z, h, n)
    score = torch.zeros(2, 4, 4, dtype=torch.float64)
    for h in range(2):
        for i in range(4):
            for j in range(4):
                for feature in range(2):  # pairs (0, 2) and (1, 3), turned by (i - j) 1000^(-feature / 2)
                    turn = (i - j) * 1000 ** (-feature / 2)
                    a = torch.complex(q[i, h, feature], q[i, h, feature + 2])
                    b = torch.complex(k[j, h, feature], k[j, h, feature + 2])
                    score[h, i, j] += (
                        a * b.conj() * torch.polar(torch.ones(()).double(), torch.tensor(turn).double())
                    ).real / 2
    mixed = torch.einsum("hij,jhn->ihn", score.softmax(dim=-1), v).reshape(4, 8)
    expected = x + layer.out(mixed).T[None, :, :, None, None]
    torch.testing.assert_close(layer(x, torch.zeros(1, 16)), expected, rtol=1e-5, atol=1e-5)


def test_checkpointing_changes_memory_not_results() -> None:
    # SPEC A9
    x, t, goal = normal(2, 8, 5, 8, 8), torch.tensor([3.0, 700.0]), normal(2, 4, 5, 8, 8, seed=2)
    losses, gradients, kept = [], [], []
    for on in (False, True):
        network = tiny(on)
        saved: dict[int, int] = {}

        def note(value: Tensor, saved: dict[int, int] = saved) -> Tensor:
            saved[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
            loss = F.mse_loss(network(x, t), goal)
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad for p in network.parameters()])
        kept.append(sum(saved.values()))
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    for plain, spared in zip(*gradients, strict=True):
        torch.testing.assert_close(spared, plain, rtol=1e-6, atol=1e-6)
    assert kept[1] < kept[0] / 3


@pytest.mark.parametrize("checkpoint", [False, True])
def test_bfloat16_autocast(checkpoint: bool) -> None:
    # SPEC A20
    network = tiny(checkpoint)
    x, t = normal(2, 8, 5, 6, 7), torch.tensor([0.0, 999.0])
    with torch.autocast("cpu", torch.bfloat16):
        out = network(x, t)
    assert out.dtype == torch.bfloat16
    out.float().square().mean().backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.float32 and bool(p.grad.isfinite().all())
        for p in network.parameters()
    )
    out, exact = out.detach(), network(x, t).detach()
    assert float((out.float() - exact).abs().max()) <= 0.05 * float(exact.abs().max())


def test_a_new_network_answers_zero_and_still_learns() -> None:
    network = DiffusionUNet(TINY)
    out = network(normal(1, 8, 3, 4, 4), torch.tensor([500.0]))
    assert not bool(out.any())
    (out - 1).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert float(network.head.weight.grad.abs().max()) > 0  # type: ignore[union-attr, operator]


def test_the_time_is_told_apart() -> None:
    network = tiny()
    x = normal(1, 8, 3, 4, 4).expand(4, -1, -1, -1, -1)
    out = network(x, torch.tensor([0.0, 1.0, 998.0, 999.0])).detach()
    for a in range(4):
        for b in range(a):
            assert float((out[a] - out[b]).abs().max()) > 1e-4
    by_hand = time_features(torch.tensor([2.0]), 4)  # frequencies 1 and 1 / 100
    torch.testing.assert_close(
        by_hand,
        torch.tensor([[2.0, 0.02, 2.0, 0.02]])
        .cos()
        .where(torch.tensor([True, True, False, False]), torch.tensor([[2.0, 0.02, 2.0, 0.02]]).sin()),
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 12}, "width must be divisible by 8.*Found 12"),
        ({"time_embedding": 6}, "time embedding by 4.*6"),
        ({"attention_levels": (4,)}, "Attention at level 4: there are levels 0 to 3"),
        ({"heads": 7}, "384 channels at level 1 cannot be shared out among 7 heads"),
        ({"blocks": 0}, "must be at least 1"),
    ],
)
def test_refusals(wrong: dict[str, int | tuple[int, ...]], message: str) -> None:
    with pytest.raises(LamellaError, match=message):
        DiffusionUNetSettings(**wrong)  # type: ignore[arg-type]
