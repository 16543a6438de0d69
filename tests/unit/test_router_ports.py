"""Which port a cluster has on a node, beside other clusters, other agents and other programs."""

import contextlib
import socket

import pytest

from controlplane.drivers.ports import Ports
from controlplane.errors import WorkerFailed

HOST = "127.0.0.1"


@pytest.fixture
def allowed():
    for first in range(32100, 32700, 3):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + 3):
                    held.enter_context(socket.create_server((HOST, port)))
            except OSError:
                continue
            return first, first + 2
    raise AssertionError("no free ports")


@pytest.fixture
def ports(tmp_path, allowed):
    found = Ports(tmp_path / "ports.json", allowed)
    yield found
    found.close()


def test_all_workers_of_a_cluster_share_a_port_and_other_clusters_have_others(ports):
    one = ports.take("a", "w1", None, HOST)
    assert ports.take("a", "w2", None, HOST) == one
    assert ports.take("b", "w3", None, HOST) != one


def test_a_cluster_has_the_same_port_after_a_restart(ports, tmp_path, allowed):
    ports.take("a", "w1", None, HOST)
    port = ports.take("b", "w2", None, HOST)
    ports.close()
    again = Ports(tmp_path / "ports.json", allowed)
    assert again.take("b", "w2", None, HOST) == port
    again.close()


def test_a_damaged_file_costs_nothing_but_the_numbers(ports, tmp_path, allowed):
    (tmp_path / "ports.json").write_text("[]")
    again = Ports(tmp_path / "ports.json", allowed)
    assert again.take("a", "w1", None, HOST) == allowed[0]
    again.close()


def test_a_port_on_which_something_else_listens_is_passed_over(ports, allowed):
    with socket.create_server((HOST, allowed[0])):
        assert ports.take("a", "w1", None, HOST) == allowed[0] + 1


def test_a_port_on_which_something_listens_that_would_share_it_is_passed_over(ports, allowed):
    with socket.create_server((HOST, allowed[0]), reuse_port=True):
        assert ports.take("a", "w1", None, HOST) == allowed[0] + 1


def test_a_port_that_was_passed_over_is_not_kept_from_other_agents(ports, tmp_path, allowed):
    with socket.create_server((HOST, allowed[0])):
        ports.take("a", "w1", None, HOST)
    other = Ports(tmp_path / "other.json", allowed)
    assert other.take("b", "w2", None, HOST) == allowed[0]
    other.close()


def test_a_port_that_another_agent_reserved_is_passed_over_and_free_when_that_has_gone(ports, tmp_path, allowed):
    other = Ports(tmp_path / "other.json", allowed)
    assert other.take("a", "w1", None, HOST) == allowed[0]
    assert ports.take("b", "w2", None, HOST) == allowed[0] + 1
    ports.release("w2")
    with pytest.raises(WorkerFailed, match="another agent"):
        ports.take("c", "w3", allowed[0], HOST)
    other.close()
    assert ports.take("c", "w3", allowed[0], HOST) == allowed[0]


def test_two_clusters_do_not_get_the_same_port_even_when_both_name_it(ports, allowed):
    ports.take("a", "w1", allowed[0], HOST)
    with pytest.raises(WorkerFailed, match=f"port {allowed[0]} of cluster b .*cluster a listens there"):
        ports.take("b", "w2", allowed[0], HOST)
    ports.release("w1")
    assert ports.take("b", "w2", allowed[0], HOST) == allowed[0]


@pytest.mark.parametrize("other", ["w1", "w2"])
def test_who_has_a_port_is_said_without_what_only_the_agent_knows_of_it(tmp_path, allowed, other):
    ports = Ports(tmp_path / "named.json", allowed, "worker")
    ports.take("w1/0/web", "run1/web", allowed[0], HOST)
    with pytest.raises(WorkerFailed) as caught:
        ports.take(f"{other}/1/admin", "run2/admin", allowed[0], HOST)
    ports.close()
    said = f"port {allowed[0]} of worker {other} cannot be used on this node: worker w1 listens there"
    assert caught.value.message == said


def test_a_cluster_that_does_not_run_gives_way_when_no_other_port_is_left(ports, allowed):
    for number, cluster in enumerate("abc"):
        ports.take(cluster, f"w{number}", None, HOST)
    with pytest.raises(WorkerFailed, match="no port from"):
        ports.take("d", "w9", None, HOST)
    ports.release("w1")
    assert ports.take("d", "w9", None, HOST) == allowed[0] + 1


def test_a_port_outside_of_the_allowed_ones_is_refused(ports, allowed):
    with pytest.raises(WorkerFailed, match="may listen on"):
        ports.take("a", "w1", allowed[1] + 1, HOST)


def test_a_port_is_given_back_only_with_its_last_worker(ports, tmp_path, allowed):
    other = Ports(tmp_path / "other.json", allowed)
    port = ports.take("a", "w1", None, HOST)
    ports.take("a", "w2", None, HOST)
    ports.release("w1")
    with pytest.raises(WorkerFailed):
        other.take("b", "w3", port, HOST)
    ports.release("w2")
    assert other.take("b", "w3", port, HOST) == port
    other.close()


def test_an_adopted_worker_keeps_its_port_from_others(ports, allowed):
    with socket.create_server((HOST, allowed[0])):
        ports.adopt("a", "w1", allowed[0])
        assert ports.take("a", "w2", allowed[0], HOST) == allowed[0]
        with pytest.raises(WorkerFailed, match="cluster a"):
            ports.take("b", "w3", allowed[0], HOST)


def test_an_address_that_the_machine_does_not_have_is_named(ports):
    with pytest.raises(WorkerFailed, match=r"cannot listen on 192\.0\.2\.1"):
        ports.take("a", "w1", None, "192.0.2.1")
