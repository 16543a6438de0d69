"""The clients over a real router and a real master: what their page shows, and lines and masters that are lost."""

import asyncio
import json
import re
import threading
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from controlplane.client.clustering import Proxy, ResourceNotFound
from controlplane.client.thread import NAME
from controlplane.clock import sleep
from controlplane.errors import InvalidConfiguration, NoAnswer, UnknownKey
from controlplane.keys import make_key
from controlplane.records.types import to_wire
from tests.e2e.commands import commands_of, run_commands
from tests.e2e.installation import Installation, running

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "client.rst"
NAMELESS = "shown_elsewhere.py"
SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
WITHIN_S = 60.0


def scripts_of(document: Path) -> dict[str, str]:
    """The programs that a document shows, by the name that they are shown under."""
    shown = r"\.\. code-block:: python\n(?:   :caption: (\S+)\n)?\n((?:   .*\n|\n)+)"
    blocks = re.findall(shown, document.read_text())
    return {name or NAMELESS: "\n".join(line[3:] for line in text.split("\n")) for name, text in blocks}


def test_every_program_of_the_page_about_clients_works(tmp_path):
    scripts = scripts_of(DOCUMENT)
    assert len(scripts) == 3
    for name, text in {**scripts, **scripts_of(ROOT / "README.rst")}.items():
        (tmp_path / name).write_text(text)
    commands = commands_of(DOCUMENT)
    assert {f"python {name}" for name in scripts} <= set(commands)
    said = run_commands([*commands, f"python {NAMELESS}"], tmp_path)
    assert "shop ACTIVE 1" in said
    assert "shop-0 ACTIVE" in said
    assert "CLUSTER_SCALE_OUT" in said
    assert "there is no cluster nowhere" in said
    assert "controlplane.cluster.on_cluster_created" in said
    assert "shop-0 RUNNING edge1" in said


@pytest_twisted.async_yield_fixture(scope="module")
async def plane(tmp_path_factory):
    """Router and master, without an agent."""
    async with running(Installation(tmp_path_factory.mktemp("plane"), nodes=0)) as made:
        yield made


@pytest.fixture
def connection(plane):
    state = plane.children.state
    login = {**to_wire(plane.login()), "privkey_file": state.admin_key.name}
    state.connection.write_text(json.dumps(login))
    return state.connection


def in_thread(function, *args):
    return pytest_twisted.blockon(deferToThread(function, *args))


def threads() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


@pytest.fixture
def proxy(connection):
    made = in_thread(lambda: Proxy(connection, within=WITHIN_S))
    yield made
    in_thread(made.close)
    assert threads() == 0


@pytest_twisted.ensureDeferred
async def test_threads_share_a_proxy(proxy):
    def make(number):
        profile = proxy.create_profile(name=f"shared_{number}", spec=SPEC)
        cluster = proxy.create_cluster(name=f"empty_{number}", profile_id=profile)
        cluster = proxy.wait_for_status(cluster, "ACTIVE")
        begun = proxy.resize_cluster(cluster, min_size=0, max_size=3)
        assert proxy.wait_for_status(proxy.get_action(begun["action"]), "SUCCEEDED", interval=0.1)
        proxy.wait_for_delete(proxy.delete_cluster(cluster), interval=0.1)
        proxy.delete_profile(profile)
        return cluster.name

    made = await gatherResults([deferToThread(make, number) for number in range(4)])
    assert made == [f"empty_{number}" for number in range(4)]


@pytest_twisted.ensureDeferred
async def test_a_lost_master_and_a_lost_router_are_waited_for(plane, proxy):
    calling = threading.Event()

    def make(name):
        calling.set()
        return proxy.create_profile(name=name, spec=SPEC).name

    for lost in ("master", "router"):
        plane.kill(lost)
        calling.clear()
        made = deferToThread(make, f"after_{lost}")
        await deferToThread(calling.wait, WITHIN_S)
        await sleep(reactor, 0.3)
        plane.respawn(lost)
        assert await made == f"after_{lost}"
    names = await deferToThread(lambda: [each.name for each in proxy.profiles(sort="created_at")])
    assert names == ["after_master", "after_router"]
    await plane.connect()


@pytest_twisted.ensureDeferred
async def test_who_is_not_let_in_is_told_why_and_nothing_is_left(plane, connection, tmp_path):
    with pytest.raises(InvalidConfiguration):
        Proxy(tmp_path / "nowhere.json")
    make_key(tmp_path / "admin.key")
    (tmp_path / "connection.json").write_text(connection.read_text())
    with pytest.raises(UnknownKey):
        await deferToThread(lambda: Proxy(tmp_path / "connection.json", within=WITHIN_S))
    (tmp_path / "nobody.json").write_text(connection.read_text().replace(f":{plane.children.port}/", ":1/"))
    with pytest.raises(NoAnswer):
        await deferToThread(lambda: Proxy(tmp_path / "nobody.json", within=1))
    assert threads() == 0


@pytest_twisted.ensureDeferred
async def test_a_closed_proxy_answers_nobody(connection):
    made = await deferToThread(lambda: Proxy(connection, within=WITHIN_S))
    with pytest.raises(ResourceNotFound):
        await deferToThread(made.get_cluster, "nowhere")
    await deferToThread(made.close)
    with pytest.raises(NoAnswer, match="closed"):
        made.get_cluster("nowhere")
    assert threads() == 0


@pytest_twisted.ensureDeferred
async def test_a_program_that_runs_asyncio_can_use_one_too(connection):
    async def main():
        proxy = await asyncio.to_thread(Proxy, connection)
        try:
            return await asyncio.to_thread(proxy.get_build_info)
        finally:
            await asyncio.to_thread(proxy.close)

    told = await deferToThread(lambda: asyncio.run(main()))
    assert told.api["revision"] == "1.0"
