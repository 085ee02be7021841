"""The head that reads features on the thick grid at any thin slice's position.

Each thick slice has `basis` sets of features. A thin slice takes a weighted sum of the sets of the thick slices within one
thick spacing. The weights depend on where the thin slice lies and on the two grids, times a hat that falls to zero at one
spacing, so the answer changes continuously with position and spacing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lamella.machine.processor import Conv3d
from lamella.networks.feed import Feed

_ROWS = 8
"""The fewest rows of a product of matrices that are summed as any number of them."""


@dataclass(frozen=True)
class ThinHeadSettings:
    """Shape of a `ThinHead`.

    Attributes:
        trunk_channels, image_channels, out_channels: of the thick-grid features, the packed starting image and the output.
        hidden: width on the thin grid.
        basis: sets of features of each thick slice.
        ratios: length of the vector that describes the two grids.
    """

    trunk_channels: int
    image_channels: int = 16
    out_channels: int = 32
    hidden: int = 48
    basis: int = 4
    ratios: int = 2


class ThinHead(nn.Module):
    """Thick-grid features (b, c, K, y, x) -> thin-grid answer (b, out, D, y, x)."""

    reach = 2
    """Thin slices (and packed pixels) on either side that an output voxel depends on."""

    def __init__(self, settings: ThinHeadSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.offer = Conv3d(s.trunk_channels, s.basis * s.hidden, 1)
        self.weigh = nn.Sequential(
            nn.Linear(3 + s.ratios, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, s.basis)
        )
        self.modulate = nn.Sequential(nn.Linear(2 + s.ratios, 32), nn.SiLU(), nn.Linear(32, 2 * s.hidden))
        self.image = Conv3d(s.image_channels, s.hidden, 3, padding=1)
        self.conv = Conv3d(s.hidden, s.hidden, 3, padding=1)
        self.out = Conv3d(s.hidden, s.out_channels, 1)
        with torch.no_grad():
            for parameter in self.out.parameters():
                parameter.zero_()

    def slice_features(self, trunk: Tensor) -> Tensor:
        """(b, c, K, y, x) -> (b, basis, hidden, K, y, x): the sets of each thick slice, computed once a volume."""
        offered = torch.as_tensor(self.offer(trunk))
        return offered.view(len(offered), self.settings.basis, self.settings.hidden, *offered.shape[2:])

    def forward(
        self, slice_features: Tensor, image: Tensor, offsets: Tensor, ratios: Tensor, feed: Feed | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read the features at the thin slices.

        Args:
            slice_features: (b, basis, hidden, K, y, x) from `slice_features`.
            image: (b, image_channels, D, y, x) packed starting image at the thin slices; for a feed also at one more on either
                side, zeros beyond the volume.
            offsets: (D, K) (thin centre - thick centre) / thick spacing.
            ratios: (ratios,) description of the two grids.
            feed: where the volume comes some slices at a time; the answer is one slice late.

        Returns:
            The answer (b, out, D, y, x), and the hidden features (b, hidden, D, y, x) it was read from.
        """
        # Products of few rows are summed in another order: with rows to spare, the answer does not depend on how many slices
        # come at a time.
        count = len(offsets)
        offsets = F.pad(offsets, (0, 0, 0, max(0, _ROWS - count)))
        about = ratios.expand(*offsets.shape, -1)
        u = offsets.clamp(-1.0, 1.0)[..., None]
        hat = 1.0 - u.abs()
        weights = hat * self.weigh(torch.cat([u, u.abs(), u * u, about], dim=-1))
        # One product of matrices, (D, K basis) times (K basis, everything else).
        sets = slice_features.permute(3, 1, 0, 4, 5, 2)
        read = weights.flatten(1).to(sets.dtype) @ sets.reshape(sets.shape[0] * sets.shape[1], -1)
        read = read[:count].view(-1, *sets.shape[2:]).permute(1, 4, 0, 2, 3)
        # The image path reads where in the slab this thin slice lies.
        nearest = offsets.gather(1, offsets.abs().argmin(dim=1, keepdim=True))
        place = torch.cat([nearest, nearest.abs(), ratios.expand(len(nearest), -1)], dim=-1)
        gain, shift = self.modulate(place)[:count].T[None, :, :, None, None].chunk(2, dim=1)
        h = read + (self.image(image) if feed is None else self.image.inside(image))
        h = F.silu(torch.addcmul(h + shift.to(h.dtype), h, gain.to(h.dtype)))
        h = F.silu(self.conv(h) if feed is None else feed.conv(self.conv, h))
        return self.out(h), h
