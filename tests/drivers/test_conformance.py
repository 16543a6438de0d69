"""One suite that every driver passes: what `controlplane.drivers.driver.Driver` promises, on real workers.

One driver of each kind serves all tests; each leaves it open and without workers.
"""

import re

import msgspec
import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, DeferredList, ensureDeferred

from controlplane.drivers.driver import Checks, Updates
from controlplane.errors import WorkerFailed
from tests.drivers.benches import ContainerBench, ProcessBench, RouterBench, until
from tests.e2e.test_router_driver import free_ports

BENCHES = {"process": ProcessBench, "container": ContainerBench, "router": RouterBench}


@pytest.fixture(scope="module", params=list(BENCHES))
def kind(request):
    """Each driver that can run here."""
    if request.param == "container":
        ContainerBench.engine = request.getfixturevalue("engine")
    return BENCHES[request.param]


@pytest_twisted.async_yield_fixture(scope="module")
async def shared(kind, tmp_path_factory):
    """One driver for all tests."""
    made = kind(tmp_path_factory.mktemp(kind.name), free_ports(100))
    try:
        yield made
    finally:
        await made.end()


@pytest_twisted.async_yield_fixture
async def bench(shared):
    """The driver, open, with nothing to do, whatever the last test has done."""
    if shared.driver is None:
        await shared.open()
    shared.losses.seen.clear()
    started = []
    start = shared.start

    async def noted(spec, **options):
        started.append(spec.oid)
        return await start(spec, **options)

    shared.start = noted
    try:
        yield shared
    finally:
        del shared.start
        if shared.driver is None:
            await shared.open()
        for oid in started:
            await shared.driver.stop(oid)


test = pytest_twisted.ensureDeferred


@test
async def test_a_worker_that_is_started_runs_and_is_found(bench):
    spec = bench.spec()
    assert bench.driver.find(spec.oid) is None
    unit = await bench.start(spec)
    assert (unit.oid, unit.digest) == (spec.oid, "one")
    assert unit.started > 0
    assert bench.alive(unit)
    assert bench.driver.find(spec.oid) == unit
    assert isinstance(await bench.driver.statistics(spec.oid), dict)


@test
async def test_a_worker_that_runs_as_wanted_is_left_alone(bench):
    spec = bench.spec()
    unit = await bench.start(spec)
    assert await bench.start(spec) == unit


@test
async def test_a_worker_with_another_digest_is_replaced(bench):
    spec = bench.spec()
    old = await bench.start(spec)
    new = await bench.start(bench.spec(spec.oid, digest="two"))
    assert new.digest == "two"
    assert bench.alive(new)
    assert not bench.alive(old)
    assert bench.driver.find(spec.oid) == new
    assert bench.losses.seen == []


@test
async def test_a_start_that_fails_says_why_and_leaves_nothing(bench):
    spec, why = bench.broken_spec()
    with pytest.raises(WorkerFailed) as caught:
        await bench.start(spec)
    assert re.search(why, caught.value.message, re.S), caught.value.message
    assert bench.driver.find(spec.oid) is None
    await bench.driver.stop(spec.oid)
    assert bench.remains(spec.oid) == []


@test
async def test_a_replacement_that_fails_leaves_the_old_one_running(bench):
    spec = bench.spec()
    old = await bench.start(spec)
    broken, _ = bench.broken_spec(spec.oid)
    with pytest.raises(WorkerFailed):
        await bench.start(broken)
    assert bench.driver.find(spec.oid) == old
    assert bench.alive(old)
    assert bench.losses.seen == []


@test
async def test_a_configuration_that_is_none_is_refused_in_words(bench):
    spec = bench.spec()
    with pytest.raises(WorkerFailed, match="configuration"):
        await bench.start(type(spec)(oid=spec.oid, digest="none", config={"surprise": 1}))
    assert bench.driver.find(spec.oid) is None


@test
async def test_a_worker_that_is_stopped_is_gone_and_not_lost(bench):
    unit = await bench.start(bench.spec())
    await bench.driver.stop(unit.oid)
    assert not bench.alive(unit)
    assert bench.remains(unit.oid) == []
    assert bench.driver.find(unit.oid) is None
    assert bench.losses.seen == []
    with pytest.raises(WorkerFailed):
        await bench.driver.statistics(unit.oid)


@test
async def test_to_stop_what_does_not_run_is_no_error(bench):
    oid = bench.spec().oid
    await bench.driver.stop(oid)
    await bench.driver.stop(oid)


@test
async def test_a_worker_that_dies_is_lost_and_can_be_started_again(bench):
    spec = bench.spec()
    unit = await bench.start(spec)
    bench.die(unit)
    reason = await bench.losses.of(spec.oid, within=bench.loss_within_s)
    assert reason
    assert bench.driver.find(spec.oid) is None
    again = await bench.start(spec)
    assert bench.alive(again)
    assert bench.losses.seen == [(spec.oid, reason)]


@test
async def test_a_worker_that_hangs_is_killed_and_lost(bench):
    unit = await bench.start(bench.hanging_spec())
    bench.hang(unit)
    assert await bench.losses.of(unit.oid, within=bench.hang_within_s)
    assert not bench.alive(unit)
    assert bench.driver.find(unit.oid) is None


@test
async def test_a_check_finds_a_worker_well_until_it_hangs(bench):
    assert isinstance(bench.driver, Checks)
    spec = bench.spec()
    with pytest.raises(WorkerFailed, match="does not run"):
        await bench.driver.check(spec.oid)
    unit = await bench.start(spec)
    await bench.driver.check(spec.oid)
    bench.hang(unit)
    await until(lambda: psutil.Process(unit.pid).status() == psutil.STATUS_STOPPED)
    with pytest.raises(WorkerFailed, match="stopped by a signal"):
        await bench.driver.check(spec.oid)


@test
async def test_workers_that_are_kept_are_adopted(bench):
    one, two = await bench.start(bench.spec()), await bench.start(bench.spec())
    await bench.close(keep=True)
    assert bench.alive(one)
    assert bench.alive(two)
    await bench.open()
    assert bench.adopted == {one.oid: one, two.oid: two}
    assert await bench.start(bench.spec(one.oid)) == one
    bench.die(one)
    assert await bench.losses.of(one.oid, within=bench.loss_within_s)
    await bench.driver.stop(two.oid)
    assert bench.remains(two.oid) == []


@test
async def test_workers_that_are_not_kept_are_gone(bench):
    one, two = await bench.start(bench.spec()), await bench.start(bench.spec())
    await bench.close(keep=False)
    assert not bench.alive(one)
    assert not bench.alive(two)
    assert bench.remains(one.oid) + bench.remains(two.oid) == []
    await bench.open()
    assert bench.adopted == {}


@test
async def test_what_died_while_nobody_looked_is_not_adopted_or_lost_at_once(bench):
    unit = await bench.start(bench.spec())
    await bench.close(keep=True)
    bench.die(unit)
    await until(lambda: not bench.alive(unit))
    await bench.open()
    if unit.oid in bench.adopted:
        assert await bench.losses.of(unit.oid, within=bench.loss_within_s)
    assert bench.driver.find(unit.oid) is None
    assert bench.alive(await bench.start(bench.spec(unit.oid)))


@test
async def test_many_start_and_stop_at_once(bench):
    specs = [bench.spec() for _ in range(bench.many)]
    found = await DeferredList([ensureDeferred(bench.start(spec)) for spec in specs], consumeErrors=True)
    assert [unit for good, unit in found if not good] == []
    units = [unit for _, unit in found]
    assert {unit.oid for unit in units} == {spec.oid for spec in specs}
    addresses = [address.url for unit in units for address in unit.addresses]
    assert len(addresses) == len(set(addresses))
    await DeferredList([ensureDeferred(bench.driver.stop(spec.oid)) for spec in specs])
    assert [unit.oid for unit in units if bench.alive(unit)] == []
    assert bench.losses.seen == []


@test
async def test_a_start_that_is_given_up_leaves_nothing_and_can_be_made_again(bench):
    slow = bench.slow_spec()
    starting = ensureDeferred(bench.start(slow))
    await until(lambda: bench.under_way(slow.oid))
    starting.cancel()
    with pytest.raises(CancelledError):
        await starting
    assert bench.driver.find(slow.oid) is None
    await bench.driver.stop(slow.oid)
    assert bench.remains(slow.oid) == []
    assert bench.alive(await bench.start(bench.spec(slow.oid)))


@test
async def test_a_replacement_that_is_given_up_leaves_the_old_one_or_can_be_made_again(bench):
    old = await bench.start(bench.spec())
    starting = ensureDeferred(bench.start(bench.slow_spec(old.oid)))
    reactor.callLater(0.2, starting.cancel)
    with pytest.raises(CancelledError):
        await starting
    assert bench.driver.find(old.oid) == old
    assert bench.alive(old)


@test
async def test_what_can_be_changed_in_place_is_and_what_cannot_is_left_alone(bench):
    if not isinstance(bench.driver, Updates):
        pytest.skip(f"workers of the driver {bench.name} are never changed in place")
    spec = bench.spec()
    assert await bench.driver.update(spec) is None
    unit = await bench.start(spec)
    # Another digest of the same configuration is another one for whoever compares them.
    assert await bench.driver.update(bench.spec(spec.oid, "again")) == msgspec.structs.replace(unit, digest="again")
    changed = bench.changed_spec(spec.oid, "two")
    new = await bench.driver.update(changed)
    assert new == msgspec.structs.replace(unit, digest="two")
    assert bench.driver.find(spec.oid) == new
    broken, _ = bench.broken_spec(spec.oid)
    assert await bench.driver.update(broken) is None
    assert bench.driver.find(spec.oid) == new
    await bench.reopen()
    assert bench.adopted == {spec.oid: new}
    assert await bench.start(changed) == new
    assert bench.losses.seen == []


@test
async def test_two_drivers_do_not_share_a_directory(bench):
    other = bench.make()
    with pytest.raises(WorkerFailed, match="another agent"):
        await other.open(bench.losses)
    await other.close(keep=True)
