"""Hostile input on real parts: the commands of the page about it; the one for one part with fewer inputs."""

import re
import shlex
import subprocess
from pathlib import Path
from random import Random

import cbor2
import pytest
import pytest_twisted

from tests.e2e.commands import commands_of
from tests.fuzz import frames
from tests.histories.lines import Installed

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = commands_of(ROOT / "docs" / "hostile-input.rst")
WITHIN_S = 900


def test_the_page_shows_commands():
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_input_ends_in_errors_and_closed_links(command):
    fewer = re.sub(r"--inputs \d+", "--inputs 100", command) if "--part" in command else command
    words = shlex.split(fewer)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert "inputs, seed" in done.stdout or "nothing is wrong" in done.stdout


@pytest_twisted.async_yield_fixture(scope="module")
async def installed(tmp_path_factory):
    """A router and a master."""
    made = Installed(tmp_path_factory.mktemp("hostile"))
    try:
        await made.begin()
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("login", ["plain", "with shared values"])
def test_a_message_that_would_grow_when_it_is_passed_on_ends_its_link(installed, login):
    line, subprotocol = frames.Run(installed.port, installed.state.master_socket, 1)._open(Cbor())
    assert subprotocol == "wamp.2.cbor"
    line.settimeout(60)
    extra = cbor2.dumps("x") if login == "plain" else frames.shared(3, 10)
    line.sendall(frames.frame(None, 2, frames.hello_with(extra)))
    said = line.recv(2)
    line.close()
    # An answer to the login, or the end of the connection.
    assert said[:1] == (b"\x82" if login == "plain" else b"\x88")


class Cbor(Random):
    """Chooses CBOR."""

    def choice(self, _):
        return "wamp.2.cbor"
