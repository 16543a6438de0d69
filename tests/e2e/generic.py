"""Clusters of processes and containers as a user makes them, waits for them, and deletes them."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil

from controlplane.errors import ControlPlaneError
from tests.e2e.installation import Installation


async def define(made: Installation, name: str, command: list[str]) -> None:
    await define_spec(made, name, {"type": "process", "properties": {"command": command}})


async def define_spec(made: Installation, name: str, spec: dict[str, Any]) -> None:
    await call(made, "profile.create_profile", {"name": name, "spec": spec})


async def call(made: Installation, verb: str, *args, **kwargs):
    return await made.call(f"controlplane.{verb}", *args, **kwargs)


async def ended(made: Installation, action: str) -> dict:
    """Wait until an action has ended, also while the master is away."""

    async def over():
        try:
            found = await call(made, "action.get_action", action)
        except ControlPlaneError:
            return None
        return found if found["ended"] else None

    return await made.until(over, 120, f"the end of action {action}")


async def create(made: Installation, name: str, desired: int, **settings) -> str:
    definition = {"name": name, "profile": "sleeper", "desired": desired, **settings}
    cluster = await call(made, "cluster.create_cluster", definition)
    assert (await ended(made, cluster["action_oid"]))["status"] == "SUCCEEDED"
    return cluster["oid"]


async def delete(made: Installation, name: str) -> None:
    action = await call(made, "cluster.delete_cluster", name)
    assert (await ended(made, action["oid"]))["status"] == "SUCCEEDED"


async def workers(made: Installation, name: str) -> list[dict]:
    return await call(made, "cluster.list_cluster_workers", name)


def alive(found: list[dict]) -> bool:
    return all(worker["pid"] and psutil.pid_exists(worker["pid"]) for worker in found)


def post(url: str) -> bytes:
    """Send a signal without a body; blocks."""
    with urlopen(Request(url, data=b"", method="POST"), timeout=30) as answer:
        assert answer.status == 202
        return answer.read()


def saved_connection(made: Installation) -> Path:
    """Write down how the administrator connects, for `--connection` of the command line."""
    login = made.login()
    saved = {"url": login.url, "realm": login.realm, "authid": login.authid, "authrole": login.authrole}
    file = made.directory / "saved.json"
    file.write_text(json.dumps({**saved, "privkey_file": str(made.children.state.admin_key)}))
    return file
