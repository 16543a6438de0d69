"""Addresses that mean this machine, and those that another one could mean."""

import pytest

from controlplane.core.addresses import is_default, is_loopback


@pytest.mark.parametrize("address", ["localhost", "LocalHost", "127.0.0.1", "::1"])
def test_what_every_machine_calls_itself(address):
    assert is_default(address)
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["127.0.0.2", "127.255.255.254", "::ffff:127.0.0.1"])
def test_further_addresses_that_only_this_machine_reaches(address):
    assert not is_default(address)
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    ["", "0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "::2", "::ffff:10.0.0.1", "2001:db8::1", "localhost.example.org"],
)
def test_what_other_machines_may_reach(address):
    assert not is_default(address)
    assert not is_loopback(address)
