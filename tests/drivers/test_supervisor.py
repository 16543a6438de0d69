"""What an agent does with drivers whose workers can be worked on: with the real process driver."""

import os
import signal
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from controlplane.agent.supervisor import Supervisor
from controlplane.errors import NoSuchObject, NotOffered
from controlplane.process import real_chance
from controlplane.records.workers import Entry, WorkerStatus
from tests.drivers.benches import ProcessBench, until
from tests.e2e.test_router_driver import free_ports

test = pytest_twisted.ensureDeferred


class Site:
    """A supervisor with one driver."""

    def __init__(self, home):
        self.bench = ProcessBench(home, free_ports(10))
        self.supervisor = None
        self.driver = None

    async def open(self):
        self.driver = self.bench.make()
        self.supervisor = Supervisor(reactor, real_chance(), {"process": self.driver}, lambda oid: None)
        await self.supervisor.open()

    def desire(self, *specs):
        entries = {spec.oid: Entry(oid=spec.oid, driver="process", digest=spec.digest) for spec in specs}
        self.supervisor.desire(entries, {spec.digest: spec.config for spec in specs})

    def report(self, oid):
        return self.supervisor.report(oid)

    async def running(self, oid):
        await until(lambda: (self.report(oid) or 0) and self.report(oid).status is WorkerStatus.RUNNING)
        return self.report(oid)


@pytest_twisted.async_yield_fixture
async def site(tmp_path):
    made = Site(tmp_path)
    await made.open()
    try:
        yield made
    finally:
        await made.supervisor.close(keep=False)


@test
async def test_a_restart_that_was_asked_for_is_no_failure(site):
    spec = site.bench.spec()
    site.desire(spec)
    before = await site.running(spec.oid)
    answer = await site.supervisor.operate(spec.oid, "restart", {})
    after = site.report(spec.oid)
    assert (after.status, after.pid, after.restarts) == (WorkerStatus.RUNNING, answer["pid"], 0)
    assert after.reason is None
    assert after.pid != before.pid
    assert "serving" in await site.supervisor.logs(spec.oid, 10, 1000)


@test
async def test_operations_and_changes_of_one_worker_do_not_overlap(site):
    spec = site.bench.spec()
    site.desire(spec)
    await site.running(spec.oid)
    asked = [ensureDeferred(site.supervisor.operate(spec.oid, "restart", {})) for _ in range(3)]
    site.desire(site.bench.spec(spec.oid, digest="two"))
    found = await DeferredList(asked, consumeErrors=True)
    assert [answer for good, answer in found if not good] == []
    await until(lambda: site.report(spec.oid).digest == "two")
    assert site.bench.alive(site.driver.find(spec.oid))
    keepers = [each for each in site.bench.remains(spec.oid) if isinstance(each, int)]
    assert len(keepers) == 2


@test
async def test_a_worker_that_is_unknown_here_is_refused(site):
    with pytest.raises(NoSuchObject):
        await site.supervisor.logs(uuid4(), 10, 1000)
    spec = site.bench.spec()
    entry = Entry(oid=spec.oid, driver="router", digest="one")
    site.supervisor.desire({spec.oid: entry}, {"one": spec.config})
    with pytest.raises(NotOffered):
        await site.supervisor.operate(spec.oid, "restart", {})


@test
async def test_a_worker_that_failed_and_is_wanted_again_while_it_is_cleared_away_runs(site):
    broken, _ = site.bench.broken_spec()
    site.desire(broken)
    await until(lambda: (site.report(broken.oid) or 0) and site.report(broken.oid).failures > 0)
    clear, cleared = site.driver.stop, Deferred()

    async def clear_later(oid):
        await clear(oid)
        await cleared

    site.driver.stop = clear_later
    site.desire()
    await until(lambda: not site.bench.remains(broken.oid))
    site.desire(site.bench.spec(broken.oid))
    cleared.callback(None)
    assert (await site.running(broken.oid)).digest == "one"


@test
async def test_how_a_worker_ended_while_no_agent_was_here_is_reported(site):
    spec = site.bench.spec()
    site.desire(spec)
    pid = (await site.running(spec.oid)).pid
    await site.supervisor.close(keep=True)
    os.kill(pid, signal.SIGKILL)
    await until(
        lambda: site.bench.remains(spec.oid) and not any(isinstance(e, int) for e in site.bench.remains(spec.oid))
    )
    await site.open()
    reasons = []
    site.supervisor._changed = lambda oid: reasons.append(site.report(oid).reason)
    site.desire(spec)
    await until(lambda: any("killed by signal 9" in (reason or "") and "no agent" in reason for reason in reasons))
    await until(lambda: site.report(spec.oid).pid not in (None, pid))


@test
async def test_nothing_is_kept_of_a_worker_that_failed_and_is_not_wanted_any_more(site):
    spec, _ = site.bench.broken_spec()
    site.desire(spec)
    await until(lambda: site.report(spec.oid).status is WorkerStatus.ERROR)
    assert "no luck today" in site.report(spec.oid).reason
    assert "no luck today" in await site.supervisor.logs(spec.oid, 10, 1000)
    site.desire()
    await until(lambda: site.report(spec.oid) is None)
    assert site.bench.remains(spec.oid) == []
