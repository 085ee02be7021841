"""MAISI's codec at the reference's size: encode and decode a volume in tiles on this machine, beside what is computed.

    python benchmarks/full_codec.py [--voxels 300 512 512] [--tile 300 32 32] [--keep]

The architecture is MAISI's, its weights are random, the volume is noise and edges. The seam is the step at the borders of the
tiles beyond the largest step elsewhere, in HU. Memory is the process's resident set beyond what it held before the network was
made, the largest of twenty looks a second. The result is printed as JSON and kept in docs/full-size.json with --keep. Exit code
1 where the depth is not the depth given, a value is not finite, or a seam is above 0.1 HU.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from lamella.codecs.kl import KlCodec
from lamella.codecs.maisi import maisi_settings
from lamella.latent_diffusion.cost import codec_cost
from lamella.networks.autoencoder import Autoencoder

KEPT = Path("docs/full-size.json")


@dataclass
class Peak:
    """Largest resident set beyond the first one, in bytes."""

    bytes: int = 0


@contextmanager
def watched() -> Iterator[Peak]:
    """Look at the resident set until the block ends."""
    me, peak, done = psutil.Process(), Peak(), threading.Event()
    before = me.memory_info().rss

    def look() -> None:
        while not done.wait(0.05):
            peak.bytes = max(peak.bytes, me.memory_info().rss - before)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def codec(voxels: tuple[int, int, int], tile: tuple[int, int, int]) -> tuple[dict[str, Any], list[str]]:
    """Encode and decode in tiles; what was found, and what is wrong."""
    settings = replace(maisi_settings(), tile=tile)
    z, y, x = (torch.arange(n, dtype=torch.float32) for n in voxels)
    draw = torch.Generator().manual_seed(0)
    edges = 300 * torch.sin(z / 9)[:, None, None] * torch.cos(y / 11)[:, None].sign() + 2 * x - x.mean()
    hu = (edges + 20 * torch.randn(voxels, generator=draw)).clamp(-1000, 1000)[None, None]
    with watched() as peak:
        torch.manual_seed(0)
        own = KlCodec(Autoencoder(settings.network), settings)
        times, spent = [time.perf_counter()], time.process_time()
        latent = own.encode(hu)
        times.append(time.perf_counter())
        back = own.decode(latent, voxels)
        times.append(time.perf_counter())
        spent = time.process_time() - spent
    computed = codec_cost(settings, voxels)
    told = {
        "voxels": voxels,
        "tile": tile,
        "tile_reads": computed.tile_shape,
        "depth": back.shape[2],
        "encode_seconds": times[1] - times[0],
        "decode_seconds": times[2] - times[1],
        "processor_seconds": spent,
        "flop_untiled": computed.encode_flop + computed.decode_flop,
        "range_hu": float(back.max() - back.min()),
        "seam_hu": [seam_hu(back[0, 0], axis, tile[axis]) for axis in range(3)],
        "peak_bytes": peak.bytes,
        "computed_bytes": computed.tile_bytes,
    }
    wrong = [] if tuple(back.shape[2:]) == voxels and bool(back.isfinite().all()) else [f"shape {back.shape}"]
    if max(told["seam_hu"]) > 0.1:
        wrong.append(f"seams of {told['seam_hu']} HU")
    return told, wrong


def seam_hu(image: Tensor, axis: int, tile: int) -> float:
    """Mean step at the borders of the tiles beyond the largest mean step of any other place, in HU; 0 where there is none."""
    steps = image.diff(dim=axis).abs().mean([a for a in range(3) if a != axis])
    cells = image.shape[axis] // 4
    count = math.ceil(cells / (tile // 4))
    borders = [4 * round(i * cells / count) - 1 for i in range(1, count)]
    if not borders:
        return 0.0
    elsewhere = torch.ones(len(steps), dtype=torch.bool)
    elsewhere[borders] = False
    return max(0.0, float(steps[borders].max() - steps[elsewhere].max()))


def report(part: str, told: dict[str, Any], wrong: list[str], *, keep: bool) -> int:
    """Print and keep what was found; the exit code."""
    told["threads"] = torch.get_num_threads()
    print(json.dumps(told, indent=1))
    if keep:
        kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
        KEPT.write_text(json.dumps({**kept, part: told}, indent=1) + "\n", encoding="utf-8")
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--tile", type=int, nargs=3, default=(300, 32, 32))
    parser.add_argument("--keep", action="store_true", help=f"keep what is found in {KEPT}")
    asked = parser.parse_args()
    told, wrong = codec(tuple(asked.voxels), tuple(asked.tile))
    return report(f"codec {' x '.join(map(str, asked.voxels))}", told, wrong, keep=asked.keep)


if __name__ == "__main__":
    raise SystemExit(main())
