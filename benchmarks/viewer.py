"""The page's viewer beside NiiVue, on the same packed volumes, in one browser without a graphics card.

    npm pack @niivue/niivue@0.69.0 && tar xf niivue-niivue-0.69.0.tgz
    python benchmarks/viewer.py package/dist/niivue.umd.js

Four panes of 275 slices (thick, and three thin): milliseconds since navigation until the first pane and until all are
drawn, and how long a change of window takes. It needs Debian's chromium and chromium-driver, and selenium (the dev extra).
Hospital desktops are often remote and have no graphics card: the browser then computes WebGL on the processor, as here.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.report.browser import open_page  # noqa: E402
from tests.report.one_page import viewer_page  # noqa: E402

from lamella.phantom import PhantomSettings, paint_phantom  # noqa: E402
from lamella.physics.simulate import simulate_thick  # noqa: E402
from lamella.report.pack import PageVolume, pack_volumes  # noqa: E402
from lamella.volume import Volume  # noqa: E402

RUNS = 3
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")

NIIVUE = """
window.lamella = {marks: {}, done: false};
const bytes = async (id) => {
  const text = atob(document.getElementById(id).textContent);
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
};
(async () => {
  const { Niivue, NVImage } = window.niivue, shown = [];
  for (const [id, block] of PANES) {
    const viewer = new Niivue({ logLevel: "error" });
    await viewer.attachTo(`canvas-${id}`);
    viewer.addVolume(await NVImage.new(await bytes(block), `${id}.nii`, "gray", 1, null, -160, 240));
    viewer.setSliceType(viewer.sliceTypeCoronal);
    viewer.gl.finish();
    lamella.marks[id] = performance.now();
    shown.push(viewer);
  }
  lamella.window = (low, high) => {
    const start = performance.now();
    for (const viewer of shown) {
      viewer.volumes[0].cal_min = low;
      viewer.volumes[0].cal_max = high;
      viewer.updateGLVolume();
      viewer.gl.finish();
    }
    return performance.now() - start;
  };
  lamella.done = true;
})();
"""


def volumes() -> list[PageVolume]:
    """A phantom chest of 275 slices, the size a page packs a 512 x 512 scan to, thrice, and thickened."""
    thin = paint_phantom(PhantomSettings(shape=(275, 160, 240), pixel_mm=1.6))
    hu = np.rint(thin.hu).astype(np.int16)
    panes = [PageVolume("thick", "Thick", "thick", simulate_thick(Volume(hu, thin.geometry), 5.0, 5.0))]
    return panes + [PageVolume(f"thin-{n}", f"Thin {n}", "thin", Volume(hu, thin.geometry)) for n in range(3)]


def pages(folder: Path, niivue: Path) -> dict[str, Path]:
    """Both pages, from one packing."""
    panes = volumes()
    packed = pack_volumes(panes)
    ours = viewer_page(panes, {"plane": "coronal"})
    blocks = {str(one["id"]): str(one["data"]).lstrip("#") for one in packed.volumes}
    canvases = "".join(f'<canvas id="canvas-{name}" width="600" height="380"></canvas>' for name in blocks)
    stored = "".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in packed.blocks.items())
    library = niivue.read_text(encoding="utf-8").replace("</script", "<\\/script")
    script = NIIVUE.replace("PANES", json.dumps(list(blocks.items())))
    theirs = f"<!doctype html><meta charset=utf-8>{canvases}{stored}<script>{library}</script><script>{script}</script>"
    written = {"lamella": folder / "lamella.html", "niivue": folder / "niivue.html"}
    written["lamella"].write_text(ours, encoding="utf-8")
    written["niivue"].write_text(theirs, encoding="utf-8")
    return written


def measure(name: str, page: Path) -> dict[str, float]:
    """First pane, all panes, change of window; in milliseconds."""
    with open_page(page, flags=SOFTWARE_GL) as shown:
        shown.driver.set_script_timeout(120)
        if name == "niivue":
            shown.wait("lamella.done", 120)
            changes = [float(shown.run(f"return lamella.window({low}, {low + 1500})")) for low in (-1300, -1200)]
        else:
            shown.wait("window.lamella && lamella.ready", 120)
            shown.driver.execute_async_script("const done = arguments[0]; lamella.ready.then(() => done())")
            change = """
                const done = arguments[1], start = performance.now();
                lamella.viewer.setWindow({centre: arguments[0], width: 1500});
                requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
            """
            changes = [float(shown.driver.execute_async_script(change, centre)) for centre in (-550, -450)]
        marks = [float(mark) for mark in shown.run("return Object.values(lamella.marks)")]
    return {"first pane": min(marks), "all panes": max(marks), "change of window": statistics.median(changes)}


def main() -> int:
    """Print medians of both."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        written = pages(Path(folder), Path(sys.argv[1]))
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in written}
        for _ in range(RUNS):
            for name, page in written.items():
                found[name].append(measure(name, page))
        megabytes = {name: page.stat().st_size / 1e6 for name, page in written.items()}
    for name, runs in found.items():
        figures = ", ".join(f"{key} {statistics.median(run[key] for run in runs):.0f} ms" for key in runs[0])
        print(f"{name:8s} {megabytes[name]:5.1f} MB: {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
