"""Whatever computes is killed at random moments, again and again: is anything lost, doubled or half?

    python benchmarks/node_faults.py --kills 200

A sender keeps sending small studies and notes every instance that was answered Success; what was not is sent again. The
node, or its worker alone, gets SIGKILL at random moments; dcmtk's storescp receives the results and is killed, too. In the
end every noted instance must be in exactly one finished folder, byte for byte, and every result must be whole: in the state
folder at every kill, and at the peer in the end. Beside it, batches and their workers are killed in the same way, and
then workers on a Ray cluster (`batch_faults.py`). It needs Debian's dcmtk and the extras "node" and "cluster". Exit code 0
if all holds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pydicom
from pynetdicom import AE, _config
from pynetdicom.sop_class import CTImageStorage

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from batch_faults import kill_batches  # noqa: E402
from tests.running_node import free_port, listens, node_config, start_node, study_at, wait_for  # noqa: E402

from lamella.batch.digest import result_sha256  # noqa: E402
from lamella.node.journal import hashed  # noqa: E402
from lamella.node.scp import quieten  # noqa: E402
from lamella.node.states import FINAL, STATES, read_json  # noqa: E402

SLICES, SIDE = 8, 32
SHARES = {"node, its worker, its peer": 0.6, "batch, its worker": 0.26, "Ray worker": 0.14}
"""Of the kills."""
PATIENCE_S = 600.0
"""For what starts on a busy machine."""
BACKLOG = 4
"""Studies that wait at most, so that instances are received throughout the run."""


@dataclass
class Sender(threading.Thread):
    """Sends study after study, each until every instance was answered Success."""

    folder: Path
    port: int
    most: int
    state: Path
    stopping: threading.Event = field(default_factory=threading.Event)
    answered: dict[str, Path] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Send."""
        while not self.stopping.is_set() and self.sent < self.most:
            if sum(1 for name in ("ready", "working") for _ in (self.state / name).iterdir()) > BACKLOG:
                time.sleep(0.1)
                continue
            self.sent += 1
            left = sorted(study_at(self.folder / str(self.sent), self.sent, SLICES, SIDE).iterdir())
            random.shuffle(left)
            while left:
                left = self._send(left)

    def _send(self, files: list[Path]) -> list[Path]:
        """What is left of some files."""
        entity = AE("FAULTS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
        entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
        association = entity.associate("127.0.0.1", self.port, ae_title="LAMELLA")
        left = list(files)
        with suppress(RuntimeError):  # the association broke off
            for file in files:
                if not association.is_established:
                    break
                if association.send_c_store(file).get("Status") == 0x0000:
                    self.answered[str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)] = file
                    left.remove(file)
        if association.is_established:
            association.release()
        else:
            time.sleep(0.2)
        return left


class Peer:
    """dcmtk's storescp, which may be killed and comes back."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder, self.port = folder, port
        self.start()

    def start(self) -> None:
        """Listen."""
        words = ["storescp", "--fork", "--output-directory", str(self.folder), str(self.port)]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(self.port), "storescp", PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL, whatever it receives."""
        for child in psutil.Process(self.process.pid).children():
            child.kill()
        self.process.kill()
        self.process.wait()


def data_sets(files: list[Path]) -> dict[str, str]:
    """Hash of the name that the node gives an instance -> SHA-256 of its data set."""
    found = {}
    for file in files:
        content = file.read_bytes()
        begin = 144 + int.from_bytes(content[140:144], "little")
        found[file.name] = hashlib.sha256(content[begin:]).hexdigest()
    return found


def half_results(state: Path) -> list[str]:
    """Results that are visible and not whole."""
    faults = []
    for case in state.glob("*/*/result/*"):
        slices = len(list((case / "series").glob("*.dcm")))
        with suppress(FileNotFoundError):  # it was moved while we looked
            expected = json.loads((case / "report.json").read_text())["output"]["slices"]
            if slices != expected and case.exists():
                faults.append(f"{case.parent.parent.name}: {slices} of {expected} slices")
    return faults


def faults_in_the_end(state: Path, answered: dict[str, Path], received: Path) -> list[str]:
    """What was lost, doubled, changed or is half, once everything is quiet."""
    faults = half_results(state)
    places = Counter[str]()
    kept: dict[str, str] = {}
    for one in (one for name in FINAL for one in (state / name).iterdir()):
        files = sorted((one / "source").iterdir())
        places.update(file.name for file in files)
        kept |= data_sets(files)
    for uid, file in answered.items():
        name = f"{hashed(uid)}.dcm"
        if places[name] != 1:
            faults.append(f"an instance answered Success is in {places[name]} finished folders")
        elif kept[name] != next(iter(data_sets([file]).values())):
            faults.append("an instance was changed")
    if strangers := set(places) - {f"{hashed(uid)}.dcm" for uid in answered}:
        # answered, and the answer was lost with the killed node: then it was sent again and is there once
        faults.append(f"{len(strangers)} instances that nobody was told of")
    peer = Counter(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID for file in received.iterdir())
    for one in (state / "sent").iterdir():
        for case in (one / "result").iterdir():
            record = read_json(case / "record.json")
            if result_sha256(case / "series") != record["sha256"]:
                faults.append(f"{one.name}: a result is not what its record says")
            made = sorted((case / "series").iterdir())
            if peer[pydicom.dcmread(made[0], stop_before_pixels=True).SeriesInstanceUID] != len(made):
                faults.append(f"{one.name}: the peer has a part of the series")
    left = [name for name in (*(set(STATES) - set(FINAL)), "tmp") if any((state / name).iterdir())]
    return faults + [f"{name} is not empty" for name in left]


def moments(state: Path) -> set[str]:
    """What is going on now."""
    found = {
        "receiving": any((state / "tmp").iterdir()) or any((state / "incoming").iterdir()),
        "computing": any(not (one / "send.json").exists() for one in (state / "working").iterdir()),
        "writing": any(state.glob("working/*/making/.*/new/*/series")),
        "sending": any(state.glob("working/*/send.json")),
    }
    return {name for name, there in found.items() if there} or {"idle"}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--model", default="embedded", help="name or folder")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    asked = parser.parse_args()
    random.seed(asked.seed)
    began = time.monotonic()
    quieten()
    _config.STORE_SEND_CHUNKED_DATASET = True
    with tempfile.TemporaryDirectory() as place:
        figures = run(Path(place), asked.kills, asked.model)
    figures |= {"seed": asked.seed, "seconds": round(time.monotonic() - began)}
    print(json.dumps(figures, indent=2))
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if figures["faults"] else 0


def run(place: Path, kills: int, model: str) -> dict[str, Any]:
    """The figures of all parts."""
    of_batch, of_ray = (round(share * kills) for share in list(SHARES.values())[1:])
    (place / "batch").mkdir()
    (place / "ray").mkdir()
    with ThreadPoolExecutor() as pool:
        node = pool.submit(kill_node, place / "node", kills - of_batch - of_ray, model)
        batch = pool.submit(kill_batches, place / "batch", of_batch, model)
        figures, tallies = node.result(), {"batch": batch.result()}
    tallies["Ray"] = kill_batches(place / "ray", of_ray, model, over_ray=True)
    for kind, tally in tallies.items():
        figures["of"] |= tally.whom
        figures[f"while, {kind}"] = dict(tally.seen)
        figures[f"batches, {kind}"] = tally.batches
        figures["faults"] += sorted(tally.faults)
    return {"kills": kills, **figures}


def kill_node(place: Path, kills: int, model: str) -> dict[str, Any]:
    """A node under load, its worker and its peer."""
    place.mkdir()
    peer = Peer(place / "received", free_port())
    keys = {
        "peers": [{"name": "peer", "aet": "PEER", "host": "127.0.0.1", "port": peer.port}],
        "send_to": ["peer"],
        "work": {"attempts": 1000},
        "close_after_s": 0.5,
    }
    config = node_config(place / "node", model, **keys)
    node = start_node(config, seconds=PATIENCE_S)
    sender = Sender(place / "in", node.port, most=kills, state=node.state)
    sender.start()
    seen, whom, faults = Counter[str](), Counter[str](), set[str]()
    for _ in range(kills):
        time.sleep(random.uniform(0.05, 2.5))
        seen.update(moments(node.state))
        victim = random.choices(["node", "worker", "peer"], [5, 4, 1])[0]
        whom[victim] += 1
        if victim == "peer":
            peer.kill()
            peer.start()
        elif victim == "worker":
            for child in psutil.Process(node.process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        else:
            node.end(signal.SIGKILL)
            faults.update(half_results(node.state))
            node = start_node(
                config, waits=random.random() < 0.8, seconds=PATIENCE_S
            )  # some are killed while they start
        faults.update(half_results(node.state))
    sender.stopping.set()
    sender.join(300)
    wait_for(lambda: not any(any((node.state / name).iterdir()) for name in set(STATES) - set(FINAL)), "quiet", 1800)
    faults.update(faults_in_the_end(node.state, sender.answered, peer.folder))
    node.end()
    peer.kill()
    return {
        "of": dict(whom),
        "while, node": dict(seen),
        "studies": sender.sent,
        "instances answered Success": len(sender.answered),
        "finished": {name: len(list((node.state / name).iterdir())) for name in FINAL},
        "faults": sorted(faults),
    }


if __name__ == "__main__":
    sys.exit(main())
