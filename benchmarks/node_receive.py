"""How fast a node stores what it receives while it works, beside dcmtk's storescp on the same files.

    python benchmarks/node_receive.py

Studies are sent by dcmtk's storescu over several associations at a time, to a node that thins them as they close and then to
a storescp that does nothing else and does not wait for the disk. All must be stored by the node and none refused; its rate
must be at least half of that of storescp. It needs Debian's dcmtk and the extra "node". Exit code 0 if all holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.running_node import free_port, listens, node_config, start_node, study_at, wait_for  # noqa: E402

from lamella.node.states import STATES  # noqa: E402

LEAST_RATIO = 0.5


def send_all(studies: list[Path], port: int, associations: int, no_delay: bool) -> float:
    """Seconds until every study was sent, each over one association, so many at a time."""
    environment = {**os.environ, **({"TCP_NODELAY": "1"} if no_delay else {})}

    def send(study: Path) -> None:
        words = ["storescu", "-aec", "LAMELLA", "127.0.0.1", str(port), "+sd", str(study)]
        subprocess.run(words, check=True, capture_output=True, env=environment)

    began = time.perf_counter()
    with ThreadPoolExecutor(associations) as pool:
        list(pool.map(send, studies))
    return time.perf_counter() - began


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--side", type=int, default=64, help="pixels a side")
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--model", default="embedded", help="name or folder")
    parser.add_argument(
        "--no-delay", action="store_true", help="storescu does not wait for acknowledgements (TCP_NODELAY)"
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        studies = [study_at(folder / "in" / str(n), n, asked.slices, asked.side) for n in range(1, asked.studies + 1)]
        instances = asked.studies * asked.slices
        node = start_node(node_config(folder / "node", asked.model, close_after_s=1.0))
        node_s = send_all(studies, node.port, asked.associations, asked.no_delay)
        begun = sum(line["event"] == "begun" for line in node.audit())
        wait_for(lambda: not any((node.state / "incoming").iterdir()), "closed studies")
        node.process.kill()
        node.process.wait()
        stored = sum(1 for state in STATES for _ in (node.state / state).glob("*/source/*"))
        answers = [line["status"] for line in node.audit() if line["event"] in ("stored", "not stored")]
        other = free_port()
        (folder / "storescp").mkdir()
        words = ["storescp", "--fork", "--output-directory", str(folder / "storescp"), str(other)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda: listens(other), "storescp")
            peer_s = send_all(studies, other, asked.associations, asked.no_delay)
            process.kill()
    figures = {
        "instances": instances,
        "stored": stored,
        "refused": sum(status != "0000" for status in answers),
        "studies begun meanwhile": begun,
        "node, instances a second": round(instances / node_s, 1),
        "storescp, instances a second": round(instances / peer_s, 1),
        "ratio": round(peer_s / node_s, 2),
    }
    print(json.dumps(figures, indent=2))
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    whole = stored == instances and figures["refused"] == 0 and begun > 0
    return 0 if whole and peer_s / node_s >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
