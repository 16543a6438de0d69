"""The module that stands before `pyqrcode` in workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

from controlplane.drivers.router import workerpath

PROGRAM = """
import json, sys, time
import pyqrcode
from pyqrcode import builder, tables
key = "ab" * 32
first = pyqrcode.create(key, error="L", mode="binary")
drawn = first.terminal()
again = pyqrcode.create(key, error="L", mode="binary")
other = pyqrcode.create("cd" * 32, error="L", mode="binary")
print(json.dumps({
    "file": pyqrcode.__file__,
    "drawn": drawn,
    "same": again is first and again.terminal() is drawn,
    "other": other.terminal() != drawn,
    "quiet": again.terminal(quiet_zone=0) != drawn,
    "version": first.version,
}))
"""


def run(path):
    environment = {**os.environ, "PYTHONPATH": path}
    return json.loads(
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, check=True).stdout
    )


def test_workers_get_the_real_module_which_remembers_what_it_drew():
    here = str(Path(workerpath.__file__).parent)
    real, ours = run(""), run(here)
    assert here not in ours["file"]
    assert real["same"] is False
    assert ours == {**real, "same": True}


def test_without_the_real_module_there_is_none():
    here = str(Path(workerpath.__file__).parent)
    environment = {"PYTHONPATH": here}
    program = "import pyqrcode"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert "ModuleNotFoundError: No module named 'pyqrcode'" in done.stderr
