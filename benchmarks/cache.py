"""Size and read time of the prepared cases' format, beside JPEG-LS of the same slices.

    python benchmarks/cache.py SERIES [SERIES ...] [--slices 30]
    python benchmarks/cache.py ../shared/ct/train/*

Exit code 0 when every target is met: at most 1.35 times JPEG-LS (median over the series), a random block of 8 x 192 x 192
voxels in at most 15 ms (median). Read times are those of files that the system has in memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np

from lamella.data.cache import open_case, write_case
from lamella.sources.source import read_source
from lamella.volume import Volume

MOST_RATIO, MOST_MS = 1.35, 15.0
BLOCK, READS = (8, 192, 192), 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="+", type=Path)
    parser.add_argument("--slices", type=int, default=30)
    asked = parser.parse_args()
    rng, ratios, times_ms = np.random.default_rng(0), [], []
    for path in asked.series:
        volume = read_source(path)
        count, g = min(asked.slices, len(volume.hu)), volume.geometry
        hu = volume.hu[:count].astype(np.int16)
        part = Volume(hu, g.with_slices(count, g.spacing_mm, 0.0, g.thickness_mm))
        with tempfile.TemporaryDirectory() as work:
            write_case(Path(work) / "case", "c", "", "p", part, None)
            thin = open_case(Path(work) / "case").thin
            same = np.array_equal(thin[slice(0, count), slice(0, g.shape[1]), slice(0, g.shape[2])], hu)
            spent = []
            for _ in range(READS):
                first = [int(rng.integers(0, n - b + 1)) for n, b in zip(hu.shape, BLOCK, strict=True)]
                z, y, x = (slice(f, f + b) for f, b in zip(first, BLOCK, strict=True))
                start = time.perf_counter()
                thin[z, y, x]
                spent.append(1e3 * (time.perf_counter() - start))
            size = thin.path.stat().st_size
        jpeg_ls = sum(len(imagecodecs.jpegls_encode((s.astype(np.int32) + 1024).astype(np.uint16))) for s in hu)
        ratios.append(size / jpeg_ls)
        times_ms += spent
        print(f"{path.name}: {size / jpeg_ls:.3f} of JPEG-LS, {statistics.median(spent):.1f} ms, lossless: {same}")
        if not same:
            return 1
    ratio, read_ms = statistics.median(ratios), statistics.median(times_ms)
    print(f"median: {ratio:.3f} of JPEG-LS (at most {MOST_RATIO}), {read_ms:.1f} ms a block (at most {MOST_MS:g})")
    return 0 if ratio <= MOST_RATIO and read_ms <= MOST_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
