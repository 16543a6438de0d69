"""What processes and containers are made of: the properties of a profile, as users write them and drivers read them.

The annotations are the JSON Schema and the first half of the checks; `core.profile_checks` has the other half. Times
are in seconds, sizes in bytes. In texts that are marked so, `{name}`, `{index}`, `{oid}`, `{address}`, `{directory}`
and `{port:NAME}` stand for what the worker is given on its node; to be left alone, `{name}` is written `{{name}}`.
"""

from typing import Annotated, Any, Literal

import msgspec

from controlplane.records import patterns
from controlplane.records.types import Line, Natural, Record

MEBIBYTE = 2**20
OWN_VARIABLE_PREFIX = "CONTROLPLANE_"
"""Environment variables with such names are the control plane's own."""

Text = Annotated[str, msgspec.Meta(pattern=patterns.NO_NUL, max_length=65_536)]
Path = Annotated[str, msgspec.Meta(pattern=patterns.ABSOLUTE_PATH, max_length=4_096)]
Command = Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=4_096)]
"""A program and its arguments; no shell takes part."""

VariableName = Annotated[str, msgspec.Meta(pattern=patterns.VARIABLE, max_length=256)]
PortName = Annotated[str, msgspec.Meta(pattern=patterns.PORT_NAME)]
PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
UrlPath = Annotated[str, msgspec.Meta(pattern=patterns.URL_PATH, max_length=1_024)]
Scheme = Annotated[str, msgspec.Meta(pattern=patterns.SCHEME)]
FileName = Annotated[str, msgspec.Meta(pattern=patterns.FILE)]
UserName = Annotated[str, msgspec.Meta(pattern=patterns.USER)]
Duration = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Period = Annotated[float, msgspec.Meta(ge=0.05, le=3_600)]
Signal = Literal[
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT", "SIGSTOP", "SIGWINCH"
]


class Part(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a profile's properties; names that there are not are refused."""


class NoCheck(Part, frozen=True, kw_only=True, tag="none", tag_field="kind"):
    """Nothing is looked at: good as soon as it was started."""


class DelayCheck(Part, frozen=True, kw_only=True, tag="delay", tag_field="kind"):
    """Good when it has not ended after a while."""

    seconds: Duration
    """How long."""


class TcpCheck(Part, frozen=True, kw_only=True, tag="tcp", tag_field="kind"):
    """Good when a connection is accepted."""

    port: PortName
    """Name of one of the ports."""


class HttpCheck(Part, frozen=True, kw_only=True, tag="http", tag_field="kind"):
    """Good when a GET is answered with one of these statuses; redirects are not followed."""

    port: PortName
    """Name of one of the ports."""

    path: UrlPath = "/"
    """What is asked for."""

    status_min: Annotated[int, msgspec.Meta(ge=100, le=599)] = 200
    """Lowest status that is good."""

    status_max: Annotated[int, msgspec.Meta(ge=100, le=599)] = 399
    """Highest status that is good."""


class CommandCheck(Part, frozen=True, kw_only=True, tag="command", tag_field="kind"):
    """Good when a command ends with code 0: where the worker runs, as its user, with its environment."""

    command: Command
    """With placeholders."""


class LogCheck(Part, frozen=True, kw_only=True, tag="log", tag_field="kind"):
    """Good when the worker has written a line with this text in it."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024, pattern=patterns.ONE_LINE)]
    """As it is, no pattern."""


class Ready(Part, frozen=True, kw_only=True):
    """When a worker that was started counts as running."""

    check: NoCheck | DelayCheck | TcpCheck | HttpCheck | CommandCheck | LogCheck = NoCheck()
    """What is looked at."""

    timeout: Annotated[float, msgspec.Meta(ge=0.1, le=3_600)] = 30.0
    """After so many seconds the start has failed, and what was started is ended."""

    interval: Period = 0.2
    """Seconds between two looks."""


class Health(Part, frozen=True, kw_only=True):
    """How a worker that hangs is found: it is killed and started anew."""

    check: TcpCheck | HttpCheck | CommandCheck
    """What is looked at, again and again."""

    interval: Period = 5.0
    """Seconds between two looks."""

    timeout: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 2.0
    """Seconds that one look may take."""

    failures: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    """So many looks in a row that were not good."""


class Stop(Part, frozen=True, kw_only=True):
    """How a worker is ended."""

    signal: Signal = "SIGTERM"
    """What it is sent first."""

    grace: Duration = 10.0
    """Seconds after which everything that is left of it is killed."""


class Logs(Part, frozen=True, kw_only=True):
    """How much of its output is kept on the node."""

    size: Annotated[int, msgspec.Meta(ge=4_096, le=2**40)] = MEBIBYTE
    """Bytes in one file; a full one is put aside and a new one begun."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 5
    """Files in all."""


class Limits(Part, frozen=True, kw_only=True):
    """What a worker may use at most; without a number there is no limit."""

    memory: Annotated[int, msgspec.Meta(ge=6 * MEBIBYTE, le=2**50)] | None = None
    """Bytes."""

    cpus: Annotated[float, msgspec.Meta(ge=0.01, le=4_096)] | None = None
    """Of the machine's; 0.5 is half of one."""

    pids: Annotated[int, msgspec.Meta(ge=1, le=2**22)] | None = None
    """Processes and threads."""

    open_files: Annotated[int, msgspec.Meta(ge=3, le=2**20)] | None = None
    """Descriptors, in each of its processes."""


class ProcessLimits(Limits, frozen=True, kw_only=True):
    """What a process and its children may use at most together; without a number there is no limit."""

    required: bool = True
    """Whether it is not started where a limit cannot be kept; if not, it runs without."""


class Port(Part, frozen=True, kw_only=True):
    """A TCP port that a process listens on: it learns which one by the placeholder `{port:NAME}`."""

    number: PortNumber | None = None
    """On the node; None for one that is free, which is the better choice: of a port that is fixed, the old process has
    to let go before a new one can take its place."""

    scheme: Scheme = "tcp"
    """Of the URL under which clients are told of it."""

    path: UrlPath | None = None
    """Of that URL."""


class ProcessProperties(Part, frozen=True, kw_only=True):
    """A worker that is a process with its children."""

    command: Command
    """With placeholders; a program without a slash is looked for in the PATH of its environment."""

    env: dict[VariableName, Text] = msgspec.field(default_factory=dict)
    """Values with placeholders. Besides these there are PATH, HOME, USER, LOGNAME, SHELL, LANG and TZ, and nothing else
    of the agent's environment."""

    cwd: Annotated[str, msgspec.Meta(pattern=patterns.DIRECTORY, max_length=4_096)] | None = None
    """With placeholders; None for a directory of its own, `{directory}`, that is removed with the worker."""

    user: UserName | None = None
    """Name or number of a user of the node; None for the agent's own. Only an agent that is root can be another."""

    limits: ProcessLimits = ProcessLimits()
    """What it may use at most."""

    ports: Annotated[dict[PortName, Port], msgspec.Meta(max_length=32)] = msgspec.field(default_factory=dict)
    """What it listens on, by names of your choice."""

    ready: Ready = Ready()
    """When it counts as running."""

    health: Health | None = None
    """How it is found when it hangs."""

    stop: Stop = Stop()
    """How it is ended."""

    logs: Logs = Logs()
    """How much of its output is kept."""

    metrics: FileName | None = None
    """Name of a file in `{directory}` in which it keeps values of its own for policies: a JSON object of numbers, which
    is replaced as a whole whenever they change."""

    overlap: bool = True
    """Whether a new process may run beside the old one that it replaces; else the old one is ended first."""


class ContainerPort(Part, frozen=True, kw_only=True):
    """A TCP port that a container listens on."""

    target: PortNumber | None = None
    """Inside the container; None for the same number as on the node, which `{port:NAME}` says, and so with the network
    `host` anyway."""

    number: PortNumber | None = None
    """On the node; None for one that is free."""

    scheme: Scheme = "tcp"
    """Of the URL under which clients are told of it."""

    path: UrlPath | None = None
    """Of that URL."""


class Volume(Part, frozen=True, kw_only=True):
    """A directory or file that a container finds at a place."""

    source: Annotated[str, msgspec.Meta(pattern=patterns.VOLUME, max_length=4_096)]
    """An absolute path on the node, with placeholders, or the name of a volume of the engine."""

    target: Path
    """Where it is inside."""

    read_only: bool = False
    """Whether the container cannot write to it."""


class File(Part, frozen=True, kw_only=True):
    """A file that is written into a container before it is started."""

    text: Annotated[str, msgspec.Meta(max_length=MEBIBYTE)]
    """Its content, with placeholders."""

    mode: Annotated[str, msgspec.Meta(pattern=patterns.MODE)] = "0644"
    """Octal."""


class ContainerProperties(Part, frozen=True, kw_only=True):
    """A worker that is a container of an engine that speaks Docker's API."""

    image: Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=patterns.IMAGE)]
    """Name with tag or digest, as the engine knows it."""

    pull: Literal["never", "missing", "always"] = "missing"
    """Whether the image is fetched from its registry."""

    pull_timeout: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 300.0
    """Seconds after which fetching it has failed."""

    command: Command | None = None
    """With placeholders; None for the image's own."""

    entrypoint: Command | None = None
    """With placeholders; None for the image's own."""

    env: dict[VariableName, Text] = msgspec.field(default_factory=dict)
    """Values with placeholders."""

    cwd: Path | None = None
    """With placeholders; None for the image's own."""

    user: Annotated[str, msgspec.Meta(pattern=patterns.CONTAINER_USER)] | None = None
    """Name or number, and group after a colon; None for the image's own."""

    ports: Annotated[dict[PortName, ContainerPort], msgspec.Meta(max_length=32)] = msgspec.field(default_factory=dict)
    """What it listens on, by names of your choice."""

    volumes: Annotated[tuple[Volume, ...], msgspec.Meta(max_length=64)] = ()
    """What of the node it finds inside."""

    files: Annotated[dict[Path, File], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=dict)
    """By absolute path inside."""

    network: Annotated[str, msgspec.Meta(pattern=patterns.NETWORK, max_length=128)] | None = None
    """`host`, `none`, `bridge`, or the name of a network of the engine; None for the engine's choice."""

    limits: Limits = Limits()
    """What it may use at most; the engine keeps it."""

    read_only: bool = False
    """Whether nothing but its volumes can be written to."""

    labels: Annotated[dict[Text, Text], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=dict)
    """For the engine and other tools."""

    ready: Ready = Ready()
    """When it counts as running. A command is run inside."""

    health: Health | None = None
    """How it is found when it hangs. A command is run inside, by the engine."""

    stop: Stop = Stop()
    """How it is ended."""

    logs: Logs = Logs()
    """How much of its output the engine keeps."""

    metrics: FileName | None = None
    """Name of a file in `{directory}` in which it keeps values of its own for policies: a JSON object of numbers, which
    is replaced as a whole whenever they change."""

    overlap: bool = True
    """Whether a new container may run beside the old one that it replaces; else the old one is ended first."""


class WorkerConfig(Record, frozen=True, kw_only=True):
    """The configuration of a worker of a profile, as the master sends it."""

    name: Line = ""
    """Unique in its cluster, not on the machine."""

    index: Natural = 0
    """Its place in the cluster."""

    generation: Natural = 0
    """Nothing to a driver; another number makes another digest, and so a new start."""

    rebuilds: Natural = 0
    """With another number the worker starts with nothing of what it has kept in its directory."""

    kills: Natural = 0
    """With another number what runs of it is killed instead of ended in order."""

    properties: dict[str, Any]
    """Of the profile, for the driver that it names."""

    adopts: dict[str, Any] | None = None
    """What runs already and is to be the worker, as long as it runs."""
