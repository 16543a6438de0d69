"""Containers that run already and were not made by us: what profile each could have, and what no profile can say.

What an engine tells of a container is held against its image: only what differs is a property. Whatever a profile has
no word for is refused by name, because the container would lose it when it is made anew.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from controlplane.core.placeholders import escape
from controlplane.core.profile_checks import read_properties
from controlplane.drivers.container.drafts import OWNER
from controlplane.errors import Problem
from controlplane.records.profiles import OWN_VARIABLE_PREFIX, ContainerProperties, Signal
from controlplane.records.types import NANOSECONDS

SHARED_MEMORY_DEFAULT = 67_108_864
UNSAYABLE: Mapping[str, Any] = {
    "Privileged": "runs with all rights",
    "CapAdd": "has rights that were added",
    "CapDrop": "has rights that were taken away",
    "Devices": "has devices of the node",
    "DeviceRequests": "has devices of the node",
    "SecurityOpt": "has security options",
    "ExtraHosts": "knows hosts by name",
    "Links": "is linked with other containers",
    "VolumesFrom": "has the volumes of another container",
    "Tmpfs": "has a file system in memory",
    "Sysctls": "has kernel settings",
    "Dns": "has name servers of its own",
    "GroupAdd": "has more groups",
    "PidMode": "shares processes",
    "UTSMode": "shares a host name",
    "UsernsMode": "has a user namespace",
    "CgroupParent": "has a control group of its own",
}
"""What `HostConfig` may say and a profile cannot."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


def properties_of(
    told: Mapping[str, Any], image: Mapping[str, Any], ports: tuple[int, int]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the properties of a profile for a container that runs, and everything that they cannot say.

    Workers of the node may have these `ports`, from the first to the last, and no others.
    """
    config, host = told["Config"], told["HostConfig"]
    base = image.get("Config") or {}
    problems = list(_obstacles(told, config, host))
    # Whatever it does not share with another one, we do not know of it: the next one waits until it has ended.
    found: dict[str, Any] = {
        "image": config["Image"],
        "read_only": bool(host.get("ReadonlyRootfs")),
        "overlap": False,
    }
    for name, said in (("command", "Cmd"), ("entrypoint", "Entrypoint")):
        if config.get(said) and config[said] != base.get(said):
            found[name] = [escape(text) for text in config[said]]
    if "entrypoint" in found and config.get("Cmd"):
        found["command"] = [escape(text) for text in config["Cmd"]]
    if config.get("WorkingDir") and config["WorkingDir"] != base.get("WorkingDir"):
        found["cwd"] = escape(config["WorkingDir"])
    if config.get("User") and config["User"] != base.get("User"):
        found["user"] = config["User"]
    found["env"] = dict(_environment(config.get("Env") or (), base.get("Env") or ()))
    theirs = base.get("Labels") or {}
    found["labels"] = {name: text for name, text in (config.get("Labels") or {}).items() if theirs.get(name) != text}
    found["volumes"] = list(_volumes(told.get("Mounts") or (), problems))
    found["ports"] = dict(_ports(told, host, problems))
    for port in found["ports"].values():
        if not ports[0] <= port["number"] <= ports[1]:
            may = f"workers of its node may have {ports[0]} to {ports[1]}"
            problems.append(Problem("$.identity", f"has port {port['number']} of the node; {may}"))
    found["limits"] = dict(_limits(host, problems))
    network = host.get("NetworkMode")
    if network not in (None, "", "default"):
        found["network"] = network
    stop = dict(_stop(config, problems))
    if stop:
        found["stop"] = stop
    health = _health(config.get("Healthcheck"), base.get("Healthcheck"))
    if health is not None:
        found["health"] = health
    if not problems:
        _, problems = read_properties(found, ContainerProperties, "$.properties")
    return found, problems


def _obstacles(told: Mapping[str, Any], config: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[Problem]:
    state = told.get("State") or {}
    if not state.get("Running") or state.get("Paused") or state.get("Restarting"):
        yield Problem("$.identity", f"is {state.get('Status', 'not running')}, and has to run")
    if OWNER in (config.get("Labels") or {}):
        yield Problem("$.identity", "is a worker already, of this control plane or of another one")
    if config.get("Tty"):
        yield Problem("$.identity", "has a terminal")
    if config.get("Hostname") and host.get("NetworkMode") != "host" and not told["Id"].startswith(config["Hostname"]):
        yield Problem("$.identity", "has a host name of its own")
    if str(host.get("NetworkMode", "")).startswith("container:"):
        yield Problem("$.identity", "shares the network of another container")
    if str(host.get("IpcMode", "")).startswith(("host", "container:")):
        yield Problem("$.identity", "shares memory with others")
    if host.get("ShmSize") not in (None, 0, SHARED_MEMORY_DEFAULT):
        yield Problem("$.identity", "has its own size of shared memory")
    if any(each.get("Name") != "nofile" for each in host.get("Ulimits") or ()):
        yield Problem("$.identity", "has limits besides that of open files")
    for name, what in UNSAYABLE.items():
        if host.get(name):
            yield Problem("$.identity", f"{what} ({name})")


def _environment(given: Any, base: Any) -> Iterator[tuple[str, str]]:
    for each in given:
        name, _, value = each.partition("=")
        if each not in base and _VARIABLE.fullmatch(name) and not name.startswith(OWN_VARIABLE_PREFIX):
            yield name, escape(value)


def _volumes(mounts: Any, problems: list[Problem]) -> Iterator[dict[str, Any]]:
    for each in mounts:
        source = {"bind": each.get("Source"), "volume": each.get("Name")}.get(str(each.get("Type")))
        if source is None:
            problems.append(Problem("$.identity", f"has a mount of type {each.get('Type')}"))
        else:
            shown = escape(source) if each["Type"] == "bind" else source
            yield {"source": shown, "target": each["Destination"], "read_only": not each.get("RW", True)}


def _ports(
    told: Mapping[str, Any], host: Mapping[str, Any], problems: list[Problem]
) -> Iterator[tuple[str, dict[str, Any]]]:
    live = (told.get("NetworkSettings") or {}).get("Ports") or {}
    for name, bindings in {**(host.get("PortBindings") or {}), **live}.items():
        number, _, protocol = name.partition("/")
        numbers = {int(each["HostPort"]) for each in bindings or () if each.get("HostPort")}
        if not numbers:
            continue
        if protocol not in ("", "tcp"):
            problems.append(Problem("$.identity", f"listens by {protocol} ({name})"))
        elif len(numbers) > 1:
            problems.append(Problem("$.identity", f"has more than one port of the node for {name}"))
        else:
            yield f"tcp{number}", {"target": int(number), "number": numbers.pop()}


def _limits(host: Mapping[str, Any], problems: list[Problem]) -> Iterator[tuple[str, Any]]:
    if host.get("Memory"):
        yield "memory", host["Memory"]
    if host.get("NanoCpus"):
        yield "cpus", host["NanoCpus"] / NANOSECONDS
    elif (host.get("CpuQuota") or 0) > 0:
        yield "cpus", host["CpuQuota"] / (host.get("CpuPeriod") or 100_000)
    if (host.get("PidsLimit") or 0) > 0:
        yield "pids", host["PidsLimit"]
    for each in host.get("Ulimits") or ():
        if each.get("Name") == "nofile" and each["Soft"] != each["Hard"]:
            problems.append(Problem("$.identity", "has two limits of open files"))
        elif each.get("Name") == "nofile":
            yield "open_files", each["Hard"]


def _stop(config: Mapping[str, Any], problems: list[Problem]) -> Iterator[tuple[str, Any]]:
    number = config.get("StopSignal")
    if number and number not in get_args(Signal):
        problems.append(Problem("$.identity", f"is stopped by {number}"))
    elif number:
        yield "signal", number
    if config.get("StopTimeout") is not None:
        yield "grace", config["StopTimeout"]


def _health(given: Any, base: Any) -> dict[str, Any] | None:
    """Return the check that the container has and its image has not."""
    test = (given or {}).get("Test") or []
    if not test or given == base or test[0] not in ("CMD", "CMD-SHELL"):
        return None
    command = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", *test[1:]]
    found: dict[str, Any] = {"check": {"kind": "command", "command": [escape(text) for text in command]}}
    for name, theirs in (("interval", "Interval"), ("timeout", "Timeout")):
        if given.get(theirs):
            found[name] = given[theirs] / NANOSECONDS
    if given.get("Retries"):
        found["failures"] = given["Retries"]
    return found
