"""Every command of the page about security, run as it stands there."""

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.installation import processes_of

ROOT = Path(__file__).parents[2]


def test_every_command_of_the_page_about_security_works(tmp_path):
    text = (ROOT / "docs" / "security.rst").read_text()
    script = ["set -eu", f"export PATH={Path(sys.executable).parent}:$PATH"]
    answers = "controlplane call list_nodes --connection state/connection.json >/dev/null 2>&1"
    for block in re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", text):
        for line in block.splitlines():
            if line.strip().startswith("$ "):
                command = line.strip()[2:]
                script.append(command)
                if "controlplane master" in command or "certificate renew" in command:
                    script.append(f"until {answers}; do sleep 0.5; done")
    # The agent is there by now, and stays there with another key of the router.
    script.append('until [ "$(controlplane call get_node_by_name edge1 --field status)" = online ]; do sleep 0.5; done')
    assert sum("controlplane" in line for line in script) > 10
    log = tmp_path / "commands.log"
    with open(log, "w") as out:
        shell = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=tmp_path, stdout=out, stderr=out)
        try:
            code = shell.wait(120)
        finally:
            for process in processes_of(tmp_path):
                process.terminate()
            end = time.monotonic() + 30
            while processes_of(tmp_path) and time.monotonic() < end:
                time.sleep(0.2)
            left = processes_of(tmp_path)
            for process in left:
                process.kill()
    assert code == 0, log.read_text()[-4000:]
    assert left == []
