"""The typed client: it has what the contract has, decodes what comes, and tries again without making things twice."""

import asyncio
import inspect
import subprocess
import sys
from uuid import UUID

import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost

from controlplane.client.calls import Calls
from controlplane.client.client import Client
from controlplane.client.pace import TwistedPace
from controlplane.errors import (
    AlreadyExists,
    InvalidArgument,
    NoAnswer,
    NoSuchObject,
    Overloaded,
    RemoteError,
)
from controlplane.master.plane import PROCEDURES
from controlplane.records.clusters import AnyClusterView, ClusterStatus, GenericClusterInput
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.records.types import to_wire
from tests.unit.client.conftest import PlaneLine

OWN = sorted({each.uri: each for each in PROCEDURES.values() if each.uri.startswith("controlplane.")}.items())
SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}


class Recorded:
    """Takes a call, and answers nothing that could be read."""

    def __init__(self) -> None:
        self.taken = []

    def call(self, procedure, *args, **kwargs):
        self.taken.append((procedure, args, kwargs))

        async def answer():
            raise ApplicationError("controlplane.error.in_use", "taken")

        return answer()


@pytest.mark.parametrize(("uri", "declared"), OWN)
def test_every_procedure_is_a_method_with_its_arguments_and_defaults(uri, declared):
    line = Recorded()
    noun, verb = uri.split(".")[1:]
    method = getattr(getattr(Client(line), noun), verb)
    parameters = dict(inspect.signature(method).parameters)
    key = parameters.pop(IDEMPOTENCY_KEY, None)
    assert (key is not None) is declared.writes
    assert list(parameters) == [each.name for each in declared.parameters]
    for each in declared.parameters:
        given = parameters[each.name].default
        assert given is (inspect.Parameter.empty if each.required else given)
        assert each.required or to_wire(given) == to_wire(each.default)
    assert method.__doc__.split("\n")[0] == " ".join(declared.text.partition("\n\n")[0].split())
    with pytest.raises(Exception, match="taken"):
        asyncio.run(method(**{name: f"<{name}>" for name in parameters}))
    [(called, args, kwargs)] = line.taken
    assert (called, args) == (uri, ())
    assert kwargs.pop(IDEMPOTENCY_KEY, None) is None or declared.writes
    assert kwargs == {name: f"<{name}>" for name in parameters}


@pytest.mark.parametrize("uri", sorted(set(PROCEDURES) - {uri for uri, _ in OWN}))
def test_all_other_names_can_be_called_as_they_are(uri):
    line = Recorded()
    with pytest.raises(Exception, match="taken"):
        asyncio.run(Client(line).call(uri, 1, name=2))
    assert line.taken == [(uri, (1,), {"name": 2})]


def test_records_come_back_and_settings_may_be_records(client, wait):
    wait(lambda: client.profile.create_profile({"name": "sleeper", "spec": SPEC}))
    made = wait(lambda: client.cluster.create_cluster(GenericClusterInput(name="shop", profile="sleeper", desired=2)))
    assert isinstance(made, AnyClusterView)
    assert (made.status, made.desired) == (ClusterStatus.STARTING, 2)
    found = wait(lambda: client.cluster.get_cluster(made.oid))
    assert (found.oid, type(found.oid)) == (made.oid, UUID)
    workers = wait(lambda: client.worker.list_workers("shop"))
    assert [worker.name for worker in workers] == ["shop-0", "shop-1"]


def test_errors_come_back_as_their_classes(client, wait):
    with pytest.raises(NoSuchObject) as caught:
        wait(lambda: client.cluster.get_cluster("nowhere"))
    assert caught.value.subject == {"type": "cluster", "oid": "nowhere"}
    with pytest.raises(InvalidArgument):
        wait(lambda: client.cluster.list_clusters(sort="size"))


@pytest.mark.parametrize("fault", [TransportLost(), Overloaded("full"), NoAnswer("late")])
def test_a_lost_answer_is_asked_for_again_and_nothing_is_made_twice(client, line, wait, plane, fault):
    line.faults = [fault, fault]
    made = wait(lambda: client.profile.create_profile({"name": "sleeper", "spec": SPEC}))
    assert made.name == "sleeper"
    keys = {kwargs[IDEMPOTENCY_KEY] for _, kwargs in line.calls}
    assert (len(line.calls), len(keys)) == (3, 1)
    assert len(plane.call("list_profiles")) == 1
    with pytest.raises(AlreadyExists):
        wait(lambda: client.profile.create_profile({"name": "sleeper", "spec": SPEC}))


def test_a_key_of_the_callers_own_is_kept(client, line, wait):
    wait(lambda: client.profile.create_profile({"name": "sleeper", "spec": SPEC}, idempotency_key="mine"))
    assert line.calls[0][1][IDEMPOTENCY_KEY] == "mine"


def test_it_gives_up_in_time(plane, line, wait):
    client = Client(line, within=5, pace=TwistedPace(plane.clock))
    line.faults = [NoAnswer("late")] * 1000
    began = plane.clock.seconds()
    with pytest.raises(NoAnswer):
        wait(lambda: client.service.get_build_info())
    assert 2 < plane.clock.seconds() - began <= 5.1
    assert len(line.calls) < 10


def test_an_answer_that_never_comes_is_not_waited_for(plane, wait):
    from twisted.internet.defer import Deferred

    class Silent:
        def call(self, _procedure, *_args, **_kwargs):
            return Deferred()

    with pytest.raises(NoAnswer, match="within 3 s"):
        wait(lambda: Client(Silent(), within=3, pace=TwistedPace(plane.clock)).service.get_build_info())


def test_what_is_wrong_is_not_tried_again(client, line, wait):
    with pytest.raises(NoSuchObject):
        wait(lambda: client.cluster.delete_cluster("nowhere"))
    assert len(line.calls) == 1


def test_an_answer_of_another_version_is_an_error_that_says_so():
    class Foreign:
        async def call(self, _procedure, *_args, **_kwargs):
            return {"release": 3}

    with pytest.raises(RemoteError, match="does not know"):
        asyncio.run(Client(Foreign()).service.get_build_info())


def test_asyncio_waits_try_again_and_give_up():
    class Slow:
        answers = [TransportLost(), {"version": "1", "contract": "1.0"}]

        async def call(self, _procedure, *_args, **_kwargs):
            answer = self.answers.pop(0) if self.answers else await asyncio.sleep(60)
            if isinstance(answer, Exception):
                raise answer
            return answer

    client = Client(Slow(), within=0.5)
    assert asyncio.run(client.service.get_build_info()).version == "1"
    with pytest.raises(NoAnswer):
        asyncio.run(client.service.get_build_info())


def profiles(plane, number) -> list[str]:
    return [plane.call("create_profile", {"name": f"profile_{n:03}", "spec": SPEC})["oid"] for n in range(number)]


async def gathered(items) -> list:
    return [item async for item in items]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_lists_are_gone_through_page_by_page(client, line, wait, plane, size):
    oids = profiles(plane, 7)
    found = wait(lambda: gathered(client.profile.iterate_profiles(sort="name", page_size=size)))
    assert [str(each.oid) for each in found] == oids
    assert len(line.calls) == 7 // size + 1
    assert wait(lambda: gathered(client.routercluster.iterate_routerclusters())) == []
    seqs = [each.seq for each in wait(lambda: gathered(client.event.iterate_events(page_size=size)))]
    assert seqs == list(range(1, 8))


@pytest.mark.parametrize(("size", "gone"), [(3, 1), (3, 2), (5, 2), (7, 3), (3, 3)])
def test_what_is_deleted_between_two_pages_ends_nothing(client, wait, plane, size, gone):
    oids = profiles(plane, 3 * size)

    async def go():
        found = []
        async for each in client.profile.iterate_profiles(sort="name", page_size=size):
            found.append(str(each.oid))
            if len(found) == size:
                for oid in oids[size - gone : size]:
                    plane_line = PlaneLine(plane)
                    await plane_line.call("controlplane.profile.delete_profile", oid)
        return found

    if gone < size:
        assert wait(go) == oids
    else:
        with pytest.raises(InvalidArgument, match="marker"):
            wait(go)


def test_calls_wait_as_what_they_wait_for_does(plane, line, wait):
    assert wait(lambda: Calls(line, pace=TwistedPace(plane.clock)).call("controlplane.service.get_build_info"))


def test_the_command_line_does_not_wait_for_clients_to_be_imported():
    look = "import sys, controlplane.cli.main; print([name for name in sys.modules if 'controlplane.client' in name])"
    assert subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_client_for_asyncio_leaves_autobahn_to_it():
    """Autobahn can be used with one of the two in a process, whichever is imported first."""
    look = "import controlplane.client.client, autobahn.asyncio.wamp"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
