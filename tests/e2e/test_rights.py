"""Who may do what, over a real router: joining, keys that change, keys that are void, and attacks."""

import itertools
import json
import os
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from controlplane.errors import ControlPlaneError
from controlplane.keys import KEY_FILE, make_key, public_key, read_key
from controlplane.wamp import Login, join_once
from tests.e2e.installation import Installation, processes_of

NUMBERS = itertools.count()
ensureDeferred = pytest_twisted.ensureDeferred
INVALID = "wamp.error.invalid_argument"
DENIED = "wamp.error.not_authorized"


async def command(installation, *arguments):
    """Run a command as the administrator; return what it printed."""
    environment = {**os.environ, "CONTROLPLANE_CONNECTION": str(installation.connection)}
    done = await deferToThread(
        subprocess.run,
        [sys.executable, "-m", "controlplane", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_connection(installation):
    installation.connection = installation.directory / "owner.json"
    login = installation.login()
    saved = {"url": login.url, "realm": login.realm, "authid": "admin", "privkey_file": "admin.key"}
    installation.connection.write_text(json.dumps(saved))


@pytest_twisted.async_yield_fixture(scope="module")
async def plane(tmp_path_factory):
    """Router and master, and agents that join with tokens."""
    made = Installation(tmp_path_factory.mktemp("rights"), nodes=0)
    made.agents = {}
    try:
        await made.start()
        write_connection(made)
        yield made
    finally:
        for agent in made.agents.values():
            agent.terminate()
        for agent in made.agents.values():
            agent.wait(30)
        made.stop()
        left = processes_of(made.directory)
        for process in left:
            process.kill()
        assert not left, f"left running: {left}"


async def start_agent(plane, name, *arguments):
    first = 21000 + 100 * next(NUMBERS)
    ports = ["--first-port", str(first), "--last-port", str(first + 99)]
    state = ["--state-dir", str(plane.directory / name)]
    with open(plane.directory / f"{name}.log", "ab") as log:
        plane.agents[name] = subprocess.Popen(
            [sys.executable, "-m", "controlplane", "agent", *state, *ports, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


async def online(plane, name):
    async def reached():
        return name in await plane.call("controlplane.node.list_nodes", return_names=True, filter_by_status="online")

    await plane.until(reached, what=f"{name} online")
    return await plane.call("controlplane.node.get_node_by_name", name)


async def join_agent(plane, name):
    token = await command(plane, "node", "invite", name, "-q")
    await start_agent(plane, name, "--join", token)
    return await online(plane, name), token


async def join(plane, key, **asked):
    return await join_once(reactor, Login(url=plane.login().url, realm="default", **asked), key)


async def refused(work):
    with pytest.raises(ControlPlaneError) as caught:
        await work
    return caught.value


async def new_user(plane, name, role):
    """A user with a key of its own, joined."""
    key = make_key(plane.directory / f"{name}.key")
    user = await plane.call("controlplane.user.create_user", authid=name, role=role, pubkey=public_key(key))
    return user, key, await join(plane, key)


@ensureDeferred
async def test_a_machine_joins_with_a_token_once_and_logs_in_by_its_key_from_then_on(plane):
    node, token = await join_agent(plane, "edge1")
    directory = plane.directory / "edge1"
    assert node["pubkey"] == public_key(read_key(directory / KEY_FILE))
    for path in (directory / KEY_FILE, directory / "joined.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    # The token is void: for another machine, and for whoever read it.
    await start_agent(plane, "thief", "--join", token)
    assert await deferToThread(plane.agents["thief"].wait, 30) == 1
    assert "nobody has the public key" in (plane.directory / "thief.log").read_text()
    del plane.agents["thief"]
    # Without a token and without an address it is back by its key.
    agent = plane.agents["edge1"]
    agent.terminate()
    await deferToThread(agent.wait, 30)
    await start_agent(plane, "edge1")
    assert (await online(plane, "edge1"))["oid"] == node["oid"]
