"""`benchmarks/cases.py` on two cases of our own: one that is read, one that is refused, judged by a check of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SOUND = """
import json, sys
from pathlib import Path
import numpy as np
from tests.dicom_builder import body_hu, build_series
folder, hu = Path(sys.argv[1]), body_hu(4)
build_series(folder / "in", hu)
np.savez(folder / "truth.npz", hu=hu)
(folder / "expect.json").write_text(json.dumps({"slices": 20}))
"""

REFUSED = SOUND.replace(
    "hu = Path(sys.argv[1]), body_hu(4)", "hu = Path(sys.argv[1]), body_hu(4) + np.int16(2000)"
).replace('{"slices": 20}', '{"slices": 0}')

CHECK = """
import json, sys
from pathlib import Path
folder, out = map(Path, sys.argv[1:])
found = len([*out.glob("*.dcm")]) if out.exists() else 0
print(f"{found} slices")
sys.exit(found != json.loads((folder / "expect.json").read_text())["slices"])
"""


@pytest.mark.slow
def test_each_case_is_made_answered_and_judged(tmp_path: Path) -> None:
    wrong = SOUND.replace("20", "19")
    for name, text in (("sound", SOUND), ("refused", REFUSED), ("wrong", wrong), ("check", CHECK)):
        (tmp_path / f"{name}.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{text}")
    words = [sys.executable, str(ROOT / "benchmarks" / "cases.py"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert lines["sound:"].startswith("right  sound: exit 0; ")
    assert lines["refused:"].startswith("right  refused: exit 3; ")
    assert lines["wrong:"].startswith("WRONG  wrong: exit 0; ")
    assert "20 slices" in lines["sound:"]
    assert subprocess.run([*words, "refused"], capture_output=True, check=False).returncode == 0
