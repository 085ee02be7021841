"""A model folder appears whole or not at all, and cards of earlier versions are understood."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from tests.small_model import SMALL, awake

from lamella.embedded.model import EmbeddedModel
from lamella.networks.folder import CARD, WEIGHTS, read_card

KILLED_BETWEEN_ITS_FILES = """
    import os, signal, sys
    from pathlib import Path

    from tests.small_model import SMALL, awake

    real = Path.write_text

    def killed(self, *args, **kwargs):
        if self.name == "model.yaml":  # the weights are there, the card is not
            assert (self.parent / "weights.safetensors").is_file()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *args, **kwargs)

    Path.write_text = killed
    awake(SMALL).save(Path(sys.argv[1]), {"description": "the second"})
"""


def killed_while_saving(folder: Path) -> None:
    code = textwrap.dedent(KILLED_BETWEEN_ITS_FILES)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=Path(__file__).parents[2], timeout=120)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_between_its_two_files_leaves_the_former_model(tmp_path: Path) -> None:
    folder, fresh = tmp_path / "model", tmp_path / "fresh"
    awake(SMALL).save(folder, {"description": "the first"})
    killed_while_saving(folder)
    assert read_card(folder)["description"] == "the first"
    EmbeddedModel.read(folder)  # weights and card belong together
    killed_while_saving(fresh)
    assert not fresh.exists()
    # the next run takes away what the killed one left
    awake(SMALL).save(folder, {"description": "the third"})
    assert sorted(path.name for path in tmp_path.iterdir() if "fresh" not in path.name) == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]


def test_a_card_with_the_keys_of_earlier_versions_is_read(tmp_path: Path) -> None:
    model = awake(SMALL)
    model.save(tmp_path / "model", {})
    card = yaml.safe_load((tmp_path / "model" / CARD).read_text())
    figures = card["calibration"]
    figures["sample_calm"] = figures.pop("sample_temperature")
    del card["kind"]  # the first cards named none
    (tmp_path / "model" / CARD).write_text(yaml.safe_dump(card))
    assert EmbeddedModel.read(tmp_path / "model").calibration == model.calibration
