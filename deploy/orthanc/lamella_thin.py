"""Orthanc plugin in Python: every thick CT series that has become stable is thinned once, and the result stored beside it.

In orthanc.json: "Plugins": [".../libOrthancPython.so"], "PythonScript": ".../lamella_thin.py", and

    "Lamella": {"Command": ["lamella", "mercure"], "Settings": {"rules": {}, "thin": {"spacing_mm": 1.0}}}

Both keys may be left out. The settings are those of task.json of `lamella mercure`; its rules pass over everything that
is no thick CT, and all that Lamella wrote itself. What became of a series stands in its metadata 4242: "done", or the
exit code. A series that bears it is not looked at again; delete it to try again.
"""

import json
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path

import orthanc

METADATA = "4242"
"""Of a series that was looked at; Orthanc leaves 1024 and on to users."""

CONFIG = json.loads(orthanc.GetConfiguration()).get("Lamella", {})
COMMAND = CONFIG.get("Command", ["lamella", "mercure"])
SETTINGS = CONFIG.get("Settings", {})

WAITING = queue.Queue()


def on_change(change, level, resource):
    """Orthanc calls this; it must return at once, so a thread does the work."""
    if change == orthanc.ChangeType.STABLE_SERIES:
        WAITING.put(resource)
    elif change == orthanc.ChangeType.ORTHANC_STARTED:
        threading.Thread(target=work, daemon=True).start()


def work():
    """One series after the other."""
    while True:
        series = WAITING.get()
        try:
            thin(series)
        except Exception as error:  # a series that was deleted meanwhile; the text of an error may quote a header
            orthanc.LogError(f"Lamella: series {series} was not thinned ({type(error).__name__})")


def thin(series):
    """Give a series to `lamella mercure`, and Orthanc what comes out."""
    if METADATA in json.loads(orthanc.RestApiGet(f"/series/{series}/metadata")):
        return
    with tempfile.TemporaryDirectory(prefix="lamella-") as folder:
        source, output = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        output.mkdir()
        (source / "task.json").write_text(json.dumps({"process": {"settings": SETTINGS}}))
        for instance in json.loads(orthanc.RestApiGet(f"/series/{series}"))["Instances"]:
            (source / f"{instance}.dcm").write_bytes(orthanc.RestApiGet(f"/instances/{instance}/file"))
        environment = {**os.environ, "MERCURE_IN_DIR": str(source), "MERCURE_OUT_DIR": str(output)}
        done = subprocess.run([*COMMAND, "--quiet"], env=environment, capture_output=True, text=True)
        if done.returncode:  # one message, without a patient's name
            orthanc.LogWarning(f"Lamella: series {series} was not thinned. {done.stderr.strip()}")
        results = set()
        for file in sorted(output.glob("*.dcm")):
            results.add(json.loads(orthanc.RestApiPost("/instances", file.read_bytes()))["ParentSeries"])
    for one in {series, *results}:
        orthanc.RestApiPut(f"/series/{one}/metadata/{METADATA}", str(done.returncode or "done"))


orthanc.RegisterOnChangeCallback(on_change)
