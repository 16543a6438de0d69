"""Every command of the page about security, run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.commands import end_all

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
            left = end_all(tmp_path)
    assert code == 0, log.read_text()[-4000:]
    assert left == []
