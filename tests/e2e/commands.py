"""The commands that documents show, run as a user would run them."""

import contextlib
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.e2e.installation import processes_of

WITHIN_S = 300


def commands_of(document: Path) -> list[str]:
    """Return the lines after a prompt in the console blocks of a document."""
    commands = []
    for block in re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", document.read_text()):
        commands.extend(line.strip()[2:] for line in block.splitlines() if line.strip().startswith("$ "))
    return commands


def run_commands(commands: list[str], directory: Path, *programs: Path) -> str:
    """Run commands one after the other in a directory, end what is left of them, and return what they said.

    `programs` are directories to look for programs in first.
    """
    # Those that run on are put into the background in the text already; they are to be up before the next one.
    path = [*programs, Path(sys.executable).parent]
    script = ["set -eu", f"export PATH={':'.join(map(str, path))}:$PATH"]
    asked = "controlplane call list_nodes --connection state/connection.json >/dev/null 2>&1"
    for command, following in zip(commands, [*commands[1:], ""], strict=True):
        script.append(f"echo '+ {command.replace(chr(39), '')}'")
        script.append(command)
        if command.endswith("&"):
            script.append("sleep 0.5")
        waits_itself = following.startswith("controlplane status --within")
        if command.startswith(("controlplane agent", "export CONTROLPLANE_CONNECTION")) and not waits_itself:
            script.append(f"until {asked}; do sleep 0.5; done")
        if "--join" in command:
            online = "controlplane call list_nodes true online --connection state/connection.json 2>/dev/null"
            script.append(f"until {online} | grep -q '\"'; do sleep 0.5; done")
    log = directory / "commands.log"
    with open(log, "w") as out:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(script)], cwd=directory, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = shell.wait(WITHIN_S)
        finally:
            left = end_all(directory)
    said = log.read_text()
    assert code == 0, said[-4000:]
    assert left == []
    return said


def end_all(directory: Path) -> list[psutil.Process]:
    """End whatever runs in a directory; return what did not end by itself, and was killed."""
    for process in processes_of(directory):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    end = time.monotonic() + 30
    while processes_of(directory) and time.monotonic() < end:
        time.sleep(0.2)
    left = processes_of(directory)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return left
