"""What a container is going to be: the properties of a profile in the engine's words, all filled in."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from controlplane.core.placeholders import fill
from controlplane.drivers.files import write_whole
from controlplane.records.profiles import CommandCheck, ContainerProperties, WorkerConfig
from controlplane.records.types import NANOSECONDS, Oid
from controlplane.records.workers import Address

OWNER, WORKER, DIGEST, RUN = ("io.controlplane." + name for name in ("owner", "worker", "digest", "run"))
"""Labels of our containers: whose they are, and what for."""

CPU_PERIOD_US = 100_000
EVERYWHERE = ("", "0.0.0.0", "::")
HOST = "host"


class Draft(NamedTuple):
    """What a container is going to be."""

    values: Mapping[str, str]
    """Of placeholders."""

    ports: Mapping[str, int]
    """On the node, by name."""

    run: str
    owner: str


def owner_of(file: Path) -> str:
    """Return what our containers are marked with: an identity of this driver's directory."""
    try:
        return str(UUID(file.read_text().strip()))
    except (OSError, ValueError):
        made = str(uuid4())
        write_whole(file, made.encode(), durable=True)
        return made


def values_of(
    oid: Oid, config: WorkerConfig, directory: Path, address: str, ports: Mapping[str, int]
) -> dict[str, str]:
    """Return what placeholders stand for."""
    return {
        "oid": str(oid),
        "name": config.name or oid.hex,
        "index": str(config.index),
        "address": address,
        "directory": str(directory),
        **{f"port:{name}": str(number) for name, number in ports.items()},
    }


def labels(oid: Oid, digest: str, made: Draft, properties: ContainerProperties) -> dict[str, str]:
    """Return what the container is marked with: ours cannot be overruled."""
    return {**properties.labels, OWNER: made.owner, WORKER: str(oid), DIGEST: digest, RUN: made.run}


def creation(
    client: Any, oid: Oid, digest: str, properties: ContainerProperties, made: Draft, address: str
) -> dict[str, Any]:
    """Return the arguments of the SDK's `create_container`."""
    from docker.types import Healthcheck, LogConfig, Mount, Ulimit

    limits = properties.limits
    host: dict[str, Any] = {
        "restart_policy": {"Name": "no"},
        "read_only": properties.read_only,
        "log_config": LogConfig(
            type=LogConfig.types.JSON,
            config={"max-size": str(properties.logs.size), "max-file": str(properties.logs.count)},
        ),
        "mounts": [
            Mount(
                each.target,
                fill(each.source, made.values),
                type="bind" if each.source.startswith(("/", "{")) else "volume",
                read_only=each.read_only,
            )
            for each in properties.volumes
        ],
    }
    if properties.network is not None:
        host["network_mode"] = properties.network
    if limits.memory is not None:
        host |= {"mem_limit": limits.memory, "memswap_limit": limits.memory}
    if limits.cpus is not None:
        host |= {"cpu_period": CPU_PERIOD_US, "cpu_quota": quota(limits.cpus)}
    if limits.pids is not None:
        host["pids_limit"] = limits.pids
    if limits.open_files is not None:
        host["ulimits"] = [Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files)]
    if properties.ports and properties.network != HOST:
        interface = "0.0.0.0" if address in EVERYWHERE else address
        host["port_bindings"] = {
            port.target or made.ports[name]: (interface, made.ports[name]) for name, port in properties.ports.items()
        }
    found: dict[str, Any] = {
        "image": properties.image,
        "command": _filled(properties.command, made.values),
        "entrypoint": _filled(properties.entrypoint, made.values),
        "environment": {name: fill(value, made.values) for name, value in properties.env.items()}
        | {"CONTROLPLANE_WORKER": str(oid)},
        "labels": labels(oid, digest, made, properties),
        "name": f"controlplane-{oid}-{made.run[:6]}",
        "stop_signal": properties.stop.signal,
        "host_config": client.create_host_config(**host),
    }
    if properties.network != HOST:
        found["ports"] = [port.target or made.ports[name] for name, port in properties.ports.items()]
    if properties.user is not None:
        found["user"] = properties.user
    if properties.cwd is not None:
        found["working_dir"] = fill(properties.cwd, made.values)
    health = properties.health
    if health is not None and isinstance(health.check, CommandCheck):
        found["healthcheck"] = Healthcheck(
            test=["CMD", *(_filled(health.check.command, made.values) or ())],
            interval=int(health.interval * NANOSECONDS),
            timeout=int(health.timeout * NANOSECONDS),
            retries=health.failures,
            # Before it is ready nothing is expected of it.
            start_period=int(properties.ready.timeout * NANOSECONDS),
        )
    return found


def quota(cpus: float) -> int:
    """Return how many microseconds of each period so many processors are."""
    return max(1_000, round(cpus * CPU_PERIOD_US))


def archive(properties: ContainerProperties, made: Draft) -> bytes:
    """Return the files that are written into the container."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, file in properties.files.items():
            content = fill(file.text, made.values).encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), int(file.mode, 8)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def addresses(properties: ContainerProperties, host: str, ports: Mapping[str, int]) -> tuple[Address, ...]:
    """Return where clients can connect."""
    authority = f"[{host}]" if ":" in host else host
    return tuple(
        Address(type=name, url=f"{port.scheme}://{authority}:{ports[name]}{port.path or ''}")
        for name, port in properties.ports.items()
    )


def _filled(command: tuple[str, ...] | None, values: Mapping[str, str]) -> list[str] | None:
    return None if command is None else [fill(text, values) for text in command]
