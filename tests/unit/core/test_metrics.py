"""What measurements come to: of one worker over time, and of many at one time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.metrics import Sample, aggregate, sample_of, usage, value_of
from controlplane.records.metrics import Aggregate, Usage


def test_figures_of_drivers_are_read_and_what_they_do_not_have_is_none():
    assert sample_of({"cpu_seconds": 3, "memory": 7, "values": {"a": 1.0}}, 5.0) == Sample(5.0, 3.0, 7.0, {"a": 1.0})
    assert sample_of({"realms": {}, "memory": True, "values": 3}, 5.0) == Sample(5.0, None, None, {})


def test_figures_of_router_workers_are_read_too():
    process = {"cpu_user_s": 1.5, "cpu_system_s": 0.5, "memory_resident_bytes": 7}
    assert sample_of({"process": process, "connections": 3}, 5.0) == Sample(5.0, 2.0, 7.0, {"connections": 3.0})
    assert sample_of({"process": {"cpu_user_s": 1.5}, "realms": {}}, 5.0) == Sample(5.0, None, None, {})


def test_processor_time_is_counted_between_samples_and_never_backwards():
    first, second = Sample(10.0, 4.0, 100.0, {}), Sample(20.0, 9.0, 300.0, {})
    assert usage([first]) == Usage(cpu=None, memory=100.0)
    assert usage([first, second]) == Usage(cpu=50.0, memory=300.0)
    anew = Sample(30.0, 1.0, 100.0, {})
    assert usage([first, second, anew]) == Usage(cpu=50.0, memory=200.0)
    assert usage([first, second, anew, Sample(40.0, 2.0, 100.0, {})]).cpu == pytest.approx(30.0)
    assert usage([]) == Usage()


def test_who_does_nothing_uses_nothing_and_a_moment_is_enough_to_know():
    first = Sample(10.0, 4.0, None, {})
    assert usage([first, Sample(20.0, 4.0, None, {})]).cpu == 0.0
    assert usage([first, Sample(10.5, 4.25, None, {})]).cpu == 50.0
    assert usage([first, Sample(10.0, 4.25, None, {})]).cpu is None


def test_own_values_are_averages_of_those_that_were_there():
    samples = [
        Sample(0.0, None, None, {"a": 9.0}),
        Sample(1.0, None, None, {"a": 1.0}),
        Sample(2.0, None, None, {"a": 3.0, "b": 5.0}),
    ]
    assert usage(samples) == Usage(values={"a": 2.0, "b": 5.0})


def test_metrics_are_found_by_name():
    found = Usage(cpu=1.0, memory=2.0, values={"queue": 3.0})
    assert [value_of(found, name) for name in ("cpu", "memory", "queue", "other")] == [1.0, 2.0, 3.0, None]


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=20))
def test_workers_without_a_value_are_left_out(values):
    known = [value for value in values if value is not None]
    found = aggregate([Usage(cpu=value) for value in values], ["cpu", "memory"])
    if not known:
        assert found == {}
        return
    assert found == {"cpu": Aggregate(count=len(known), sum=sum(known), minimum=min(known), maximum=max(known))}
    assert min(known) - 1e-6 <= found["cpu"].average <= max(known) + 1e-6
