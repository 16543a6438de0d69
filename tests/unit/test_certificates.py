"""The router's certificate, who may listen where, and what a login is worth over which line."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.types import Challenge
from cryptography import x509
from nacl.signing import VerifyKey

from controlplane import certificates
from controlplane.config import AgentSettings, load_settings
from controlplane.errors import InvalidArgument, InvalidConfiguration, NotAuthorized
from controlplane.master.certificates import (
    LIFETIME,
    Listening,
    RouterCertificates,
    endpoint_tls,
    refuse_open_listeners,
    served_files,
)
from controlplane.paths import crossbar_config
from controlplane.transports import Login, require_protected

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEY = "ab" * 32


@pytest.fixture
def router(tmp_path):
    made = RouterCertificates(tmp_path / "tls")
    made.ensure(["cp.example", "10.0.0.1"], NOW)
    return made


def config(**endpoint):
    made = json.loads(crossbar_config("master.json").read_text())
    made["workers"][0]["transports"][1]["endpoint"].update(endpoint)
    return made


def test_everything_is_made_once_and_keys_are_for_their_owner_only(router):
    before = {path.name: path.read_bytes() for path in router.directory.iterdir()}
    assert set(before) == {"ca.crt", "ca.key", "router.crt", "router.key", "router-next.key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in router.directory.iterdir())
    router.ensure(["cp.example"], NOW + timedelta(days=1))
    assert {path.name: path.read_bytes() for path in router.directory.iterdir()} == before
    assert set(router.describe().names) == {"cp.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"}


def test_another_name_is_added_and_none_is_lost(router):
    router.ensure(["other.example"], NOW)
    assert {"cp.example", "other.example"} <= set(router.describe().names)


def test_a_renewed_certificate_has_the_same_fingerprint(router):
    before, fingerprints = router.describe(), router.fingerprints()
    router.renew(NOW + timedelta(days=5))
    after = router.describe()
    assert after.serial != before.serial
    assert after.ends == before.ends + timedelta(days=5)
    assert after.names == before.names
    assert after.fingerprint == before.fingerprint == fingerprints[0]
    assert router.fingerprints() == fingerprints


def test_a_new_key_is_the_one_that_was_announced(router):
    present, announced = router.fingerprints()
    router.renew(NOW, new_key=True)
    assert router.describe().fingerprint == announced == router.fingerprints()[0]
    assert router.fingerprints()[1] not in (present, announced)


def test_a_certificate_is_renewed_in_the_last_third_of_its_life(router):
    assert not router.renew_if_due(NOW + LIFETIME * 0.6)
    assert router.renew_if_due(NOW + LIFETIME * 0.7)
    assert not router.renew_if_due(NOW + LIFETIME * 0.7)


def test_a_key_without_its_certificate_is_mended(router):
    # As when the machine lost power between the two files.
    certificates.write_private(router.key, certificates.make_key())
    assert router.renew_if_due(NOW)
    assert router.describe().fingerprint == router.fingerprints()[0]


def test_the_authority_issues_for_servers_and_makes_no_further_authorities(router):
    authority = x509.load_pem_x509_certificate(router.authority.read_bytes())
    issued = x509.load_pem_x509_certificate(router.certificate.read_bytes())
    issued.verify_directly_issued_by(authority)
    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [certificates.SERVER]


def test_a_chain_is_split_as_crossbar_wants_it(router, tmp_path):
    file = tmp_path / "fullchain.pem"
    file.write_bytes(router.certificate.read_bytes() + router.authority.read_bytes())
    served = endpoint_tls(tmp_path / "served", file, router.key)
    assert served["certificate"] == str(file)
    (chain,) = served["chain_certificates"]
    assert certificates.split_chain(Path(chain).read_bytes()) == [router.authority.read_bytes()]
    with pytest.raises(InvalidConfiguration, match="no certificate"):
        endpoint_tls(tmp_path, router.key, router.key)


def test_a_certificate_and_a_key_that_do_not_belong_together_are_refused(router, tmp_path):
    (tmp_path / "other.key").write_bytes(certificates.make_key())
    with pytest.raises(InvalidConfiguration, match="is not that of"):
        Listening(hosts=("h",), certificate=router.certificate, key=tmp_path / "other.key").check()
    with pytest.raises(InvalidConfiguration, match="no key in"):
        Listening(hosts=("h",), certificate=router.certificate, key=router.certificate).check()
    Listening(hosts=("h",), certificate=router.certificate, key=router.key).check()


def test_what_is_served_is_known_by_its_content(router):
    tls = endpoint_tls(router.directory, router.certificate, router.key)
    before = served_files(config(tls=tls))
    assert before == served_files(config(tls=tls))
    router.renew(NOW)
    assert served_files(config(tls=tls)) != before
    assert served_files(config()) == ""


@pytest.mark.parametrize("interface", ["0.0.0.0", "::", "", "10.0.0.1", "2001:db8::1"])
def test_beyond_loopback_the_router_speaks_tls(interface):
    assert Listening(interface).is_protected
    with pytest.raises(InvalidArgument, match="loopback only"):
        Listening(interface, tls=False).check()


@pytest.mark.parametrize("interface", ["127.0.0.1", "127.0.0.2", "::1"])
def test_on_loopback_it_needs_none(interface):
    assert not Listening(interface).is_protected
    Listening(interface).check()
    assert Listening(interface, tls=True).is_protected


def test_a_foreign_certificate_needs_its_key_and_a_host(tmp_path):
    with pytest.raises(InvalidArgument, match="needs its key"):
        Listening(certificate=tmp_path / "x").check()
    with pytest.raises(InvalidArgument, match="for some host"):
        Listening(certificate=tmp_path / "x", key=tmp_path / "y").check()
    with pytest.raises(InvalidConfiguration, match="no certificate"):
        Listening(hosts=("h",), certificate=tmp_path / "x", key=tmp_path / "y").check()
    with pytest.raises(InvalidArgument, match="no address"):
        Listening("example.org").check()


def test_a_router_whose_configuration_was_opened_is_not_started():
    refuse_open_listeners(config())
    refuse_open_listeners(config(interface="0.0.0.0", tls={"key": "k", "certificate": "c"}))
    with pytest.raises(InvalidConfiguration, match="has no TLS"):
        refuse_open_listeners(config(interface="0.0.0.0"))
    with pytest.raises(InvalidConfiguration, match="has no TLS"):
        refuse_open_listeners(config(interface=""))
    for auth in ({"anonymous": {"type": "static", "role": "admin"}}, None):
        opened = config(interface="::", tls={"key": "k", "certificate": "c"})
        opened["workers"][0]["transports"][1]["paths"]["ws"]["auth"] = auth
        with pytest.raises(InvalidConfiguration, match="lets anybody in"):
            refuse_open_listeners(opened)


@pytest.mark.parametrize("url", ["ws://10.0.0.1:8080/ws", "ws://cp.example/ws", "rs://[2001:db8::1]:1", "ws://[::]:1/"])
def test_nobody_logs_in_over_a_network_without_tls(url):
    with pytest.raises(InvalidConfiguration, match="without TLS"):
        require_protected(Login(url=url, realm="default"))


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/ws", "ws://localhost/", "ws://[::1]:1/", "wss://cp.example/ws", "unix:/x"]
)
def test_tls_and_this_machine_are_protected(url):
    require_protected(Login(url=url, realm="default"))


def test_fingerprints_of_an_agent_are_checked():
    assert load_settings(AgentSettings, "agent", None, {"server_keys": f"{KEY},{KEY}"}).server_keys == f"{KEY},{KEY}"
    with pytest.raises(InvalidConfiguration):
        load_settings(AgentSettings, "agent", None, {"server_keys": "sha256:x"})


def login(binding, channel):
    extra = {"pubkey": KEY, "channel_binding": binding}
    return {"authmethod": "cryptosign", "authextra": extra, "transport": {"channel_id": channel}}


@pytest.mark.parametrize("channel", [None, {}, {"tls-unique": b"\0" * 32}, {"tls-unique": None}, {"other": b"x" * 32}])
def test_a_channel_without_an_identity_binds_nothing_and_is_refused(plane, channel):
    plane.call("pair_node", KEY, "edge1")
    with pytest.raises(NotAuthorized, match="bound to its channel"):
        plane.plane.authenticate("default", login("tls-unique", channel))
    assert plane.plane.authenticate("default", login("tls-unique", {"tls-unique": b"x" * 32}))["role"] == "agent"
    assert plane.plane.authenticate("default", login(None, channel))["role"] == "agent"


def test_the_channel_binding_of_cryptosign_does_not_bind():
    """Why keys are pinned: who stands in the middle knows both channels and chooses the challenge."""
    key = CryptosignKey.from_bytes(b"k" * 32)
    to_client, to_router, challenge = b"\x11" * 32, b"\x22" * 32, b"\x33" * 32
    chosen = bytes(a ^ b ^ c for a, b, c in zip(challenge, to_client, to_router, strict=True))
    answer = []
    key.sign_challenge(
        Challenge("cryptosign", {"challenge": chosen.hex()}), channel_id=to_client, channel_id_type="tls-unique"
    ).addCallback(answer.append)
    expected_by_router = bytes(a ^ b for a, b in zip(challenge, to_router, strict=True))
    signature = bytes.fromhex(answer[0])[:64]
    VerifyKey(bytes.fromhex(key.public_key())).verify(expected_by_router, signature)


def test_several_may_replace_a_file_at_the_same_time(tmp_path):
    """The router renews a certificate that is due while a person renews it, too."""
    file = tmp_path / "router.crt"
    with ThreadPoolExecutor(8) as pool:
        written = [pool.submit(certificates.write_private, file, b"%d" % number) for number in range(400)]
    assert [each.exception() for each in written] == [None] * 400
    assert 0 <= int(file.read_bytes()) < 400
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
