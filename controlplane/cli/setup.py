"""The first start of a master, and the certificate of its router."""

import ssl
import time
from pathlib import Path
from typing import Any

from twisted.internet import task

from controlplane.certificates import Description, describe, read_certificate, today
from controlplane.cli.render import print_json
from controlplane.config import default_state_dir
from controlplane.core.addresses import is_loopback
from controlplane.errors import InvalidConfiguration, NoAnswer
from controlplane.master.certificates import Listening
from controlplane.master.layout import StateDirectory, initialise, public_endpoint, router_url, save_connection

SERVED_WITHIN_S = 90.0
ANSWER_WITHIN_S = 5.0


def initialise_master(
    state_dir: str | None,
    port: int,
    listen: str,
    hosts: list[str],
    tls: bool | None,
    certificate: str | None,
    key: str | None,
    ca_file: str | None,
) -> None:
    """Make what a first start needs, and say what to do next."""
    state = _state(state_dir)
    listening = Listening(
        listen,
        tuple(hosts),
        True if certificate and tls is None else tls,
        Path(certificate) if certificate else None,
        Path(key) if key else None,
    )
    initialise(state, port, task.Clock(), listening, ca_file)
    trust = ""
    if listening.is_protected and listening.certificate is None:
        trust = " --server-keys " + ",".join(state.certificates.fingerprints())
    elif listening.is_protected and ca_file is not None:
        trust = f" --ca-file {ca_file}"
    url = router_url(listening, listening.host, port)
    print(f"Ready in {state.root}. Next, each in a terminal or unit of its own:")
    print(f"  controlplane router --state-dir {state.root}")
    print(f"  controlplane master --state-dir {state.root}")
    reach = "" if is_loopback(listening.host) else f" --url {url}"
    print("Then invite machines, and run what this prints on each of them:")
    print(f"  controlplane node invite --connection {state.connection}{reach} node1")
    print("and people, who register keys of their own:")
    print(f"  controlplane user invite --connection {state.connection}{reach} NAME --role operator")
    print(f"You are the owner, with the key in {state.admin_key}. Keep it: nobody else can log in yet.")
    print("A machine without a token is paired by its public key; its agent is")
    print(f"  controlplane agent --state-dir {state.root}/node1 --url {url}{trust}")


def show_certificate(state_dir: str | None, as_json: bool) -> None:
    """Show the certificate that the router serves."""
    state = _state(state_dir)
    found = read_certificate(_served(state))
    facts: dict[str, Any] = {
        "file": str(_served(state)),
        "names": list(found.names),
        "issuer": found.issuer,
        "begins": found.begins.isoformat(),
        "ends": found.ends.isoformat(),
        "days_left": (found.ends - today()).days,
        "fingerprint": found.fingerprint,
        "next_fingerprint": state.certificates.fingerprints()[1] if _is_ours(state) else None,
    }
    if as_json:
        print_json(facts)
        return
    print(f"{facts['file']}, for {', '.join(found.names)}")
    print(f"issued by {found.issuer}")
    print(f"good until {found.ends:%Y-%m-%d}, {facts['days_left']} days{_renewal(state, found)}")
    print(f"fingerprint of its key: {found.fingerprint}")
    if facts["next_fingerprint"]:
        print(f"fingerprint of the next key: {facts['next_fingerprint']}")


def renew_certificate(state_dir: str | None, new_key: bool) -> None:
    """Issue the certificate anew."""
    state = _state(state_dir)
    if not _is_ours(state):
        raise InvalidConfiguration(
            f"{_served(state)} is a certificate that somebody else issues",
            next_step="replace the file; the router serves the new one within seconds",
        )
    is_running = _serial_served(state) is not None
    state.certificates.renew(today(), new_key=new_key)
    made = state.certificates.describe()
    print(f"good until {made.ends:%Y-%m-%d}")
    if is_running:
        print("the router is started anew with it ...", flush=True)
        _wait_until_served(state, made.serial)
    # Only now: until here the router has had the former key.
    save_connection(state)
    if new_key:
        print(
            "connected agents learn of it by themselves; give consoles, and agents that are away, the fingerprints of "
            "'controlplane certificate fingerprint' before the next time"
        )


def print_fingerprints(state_dir: str | None) -> None:
    """Print what agents know the router by."""
    state = _state(state_dir)
    if _is_ours(state):
        print(",".join(state.certificates.fingerprints()))
    else:
        print(read_certificate(_served(state)).fingerprint)


def _wait_until_served(state: StateDirectory, serial: int) -> None:
    end = time.monotonic() + SERVED_WITHIN_S
    while _serial_served(state) != serial:
        if time.monotonic() > end:
            raise NoAnswer(
                f"the router did not serve the new certificate within {SERVED_WITHIN_S:g} s",
                next_step="see that 'controlplane router' runs; Crossbar.io alone does not read certificates again",
            )
        time.sleep(0.2)


def _serial_served(state: StateDirectory) -> int | None:
    """Return which certificate the router serves now; None when it does not run."""
    endpoint = public_endpoint(state.config() or {})
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint["interface"], endpoint["interface"])
    try:
        served = ssl.get_server_certificate((host, endpoint["port"]), timeout=ANSWER_WITHIN_S)
    except OSError:
        return None
    return describe(served.encode()).serial


def _renewal(state: StateDirectory, found: Description) -> str:
    if not _is_ours(state):
        return "; renewing it is up to you"
    return "; it is renewed as soon as the router runs" if found.is_due(today()) else "; it is renewed by itself"


def _served(state: StateDirectory) -> Path:
    config = state.config()
    tls = public_endpoint(config).get("tls") if config is not None else None
    if tls is None:
        raise InvalidConfiguration(
            f"the router in {state.root} has no certificate: it listens on loopback, without TLS",
            next_step="run 'controlplane init' with --listen or --tls",
        )
    return Path(tls["certificate"])


def _is_ours(state: StateDirectory) -> bool:
    return _served(state) == state.certificates.certificate


def _state(state_dir: str | None) -> StateDirectory:
    return StateDirectory(Path(state_dir or default_state_dir()))
