"""What stunnel is told."""

from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from controlplane.agent.stunnel import configuration, find_stunnel, is_usable
from controlplane.records.tunnels import Tunnel, TunnelLine

ROUTER = UUID("01234567-89ab-4def-8123-456789abcdef")
LINE = TunnelLine(router_oid=ROUTER, socket="/run/1/0123456789ab.tunnel", host="10.0.0.2", port=4711)


def tunnel(side):
    return Tunnel(
        cluster_oid=UUID(int=1),
        side=side,
        peer_oid=UUID(int=2),
        peer_name="the.other.internal",
        authority="",
        revocations="",
        certificate="",
        request="",
        lines=(LINE,),
    )


@pytest.mark.parametrize("side", ["front", "back"])
def test_every_service_asks_for_all_that_protects_it(side):
    second = msgspec.structs.replace(LINE, router_oid=UUID(int=5), port=4712)
    text = configuration(tunnel(side), [LINE, second], Path("/keep"))
    services = text.split("\n[")[1:]
    assert len(services) == 2
    for service in services:
        settings = service.splitlines()
        for needed in (
            "verifyChain = yes",
            "checkHost = the.other.internal",
            "CAfile = /keep/ca.pem",
            "CRLfile = /keep/revocations.pem",
            "sslVersionMin = TLSv1.3",
            "sessionResume = no",
            *(["requireCert = yes"] if side == "back" else ["client = yes"]),
        ):
            assert settings.count(needed) == 1, needed


@pytest.mark.parametrize("host", ["10.0.0.2", "2001:db8::1", "edge-1.example.org"])
def test_hosts_are_addresses_and_names(host):
    assert is_usable(msgspec.structs.replace(LINE, host=host), Path("/run/1"))


@pytest.mark.parametrize(
    "change",
    [
        {"host": "10.0.0.2\nexec = /bin/sh"},
        {"host": ""},
        {"host": "a b"},
        {"socket": "/run/2/0123456789ab.sock"},
        {"socket": "/run/1/../2/x.sock"},
        {"socket": "/run/1/x.sock\nexec = /bin/sh"},
    ],
)
def test_what_would_lead_elsewhere_or_say_more_is_not_used(change):
    assert not is_usable(msgspec.structs.replace(LINE, **change), Path("/run/1"))


def test_a_program_that_is_not_there_or_is_no_stunnel_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("CONTROLPLANE_STUNNEL", str(tmp_path / "nothing"))
    assert find_stunnel() is None
    other = tmp_path / "stunnel"
    other.touch(mode=0o755)
    monkeypatch.setenv("CONTROLPLANE_STUNNEL", str(other))
    for said in ("stunnel 4.56 on", "stunnel 5.59 on", "something else"):
        other.write_text(f"#!/bin/sh\necho {said} >&2\n")
        assert find_stunnel() is None
    other.write_text("#!/bin/sh\necho stunnel 5.68 on some platform >&2\n")
    assert find_stunnel() == (str(other), "5.68")
