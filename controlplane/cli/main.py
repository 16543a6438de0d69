"""The command tree. Everything a command needs is imported when it runs, so that help comes at once."""

import json
import os
import sys
from typing import Annotated, NoReturn

import typer

from controlplane.cli.identities import audit, node, user
from controlplane.errors import ControlPlaneError
from controlplane.quiet import leave_out_bjdata

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A WAMP control plane for clusters.",
)

app.add_typer(node, name="node")
app.add_typer(user, name="user")
app.add_typer(audit, name="audit")

StateDir = Annotated[
    str | None, typer.Option(help="Directory that state is kept in. [default: ~/.local/state/controlplane]")
]
ConfigFile = Annotated[str | None, typer.Option("--config", help="TOML file with settings.")]
LogFormat = Annotated[str | None, typer.Option(help="text or json. [default: text]")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warn or error. [default: info]")]
ConnectionFile = Annotated[
    str | None,
    typer.Option(
        "--connection",
        envvar="CONTROLPLANE_CONNECTION",
        help="Saved connection. [default: ~/.local/state/controlplane/connection.json]",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def init(
    state_dir: StateDir = None,
    port: Annotated[int, typer.Option(help="Port of the router.")] = 8080,
    listen: Annotated[
        str, typer.Option(help="Address that the router listens on; :: for all. Beyond loopback it speaks TLS.")
    ] = "127.0.0.1",
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address of this machine for others; may be given several times.")
    ] = None,
    tls: Annotated[bool | None, typer.Option("--tls/--no-tls", help="[default: --tls beyond loopback]")] = None,
    certificate: Annotated[str | None, typer.Option(help="PEM file that you renew, in place of our own.")] = None,
    key: Annotated[str | None, typer.Option(help="PEM file with the key of --certificate.")] = None,
    ca_file: Annotated[str | None, typer.Option(help="Authority of --certificate. [default: the system's]")] = None,
) -> None:
    """Make keys, certificates, the router's configuration and an administrator.

    A second time it changes nothing but where the router listens.
    """
    from controlplane.cli.setup import initialise_master

    initialise_master(state_dir, port, listen, host or [], tls, certificate, key, ca_file)


@app.command()
def router(state_dir: StateDir = None) -> None:
    """Run the router of a master, a Crossbar.io node, in the foreground."""
    from pathlib import Path

    from controlplane.config import default_state_dir
    from controlplane.master.layout import StateDirectory
    from controlplane.master.router import run_router

    sys.exit(run_router(StateDirectory(Path(state_dir or default_state_dir()))))


@app.command()
def master(
    state_dir: StateDir = None,
    url: Annotated[str | None, typer.Option(help="Of the router. [default: its unix socket in the state]")] = None,
    events_kept: Annotated[int | None, typer.Option(help="Events that are kept. [default: 100000]")] = None,
    webhook_port: Annotated[
        int | None, typer.Option(help="Port on loopback for webhooks of receivers. [default: none]")
    ] = None,
    outgoing: Annotated[
        str | None, typer.Option(help="Addresses that it may call, with commas between, or *. [default: none]")
    ] = None,
    balancer_dir: Annotated[str | None, typer.Option(help="For files of load balancers. [default: none]")] = None,
    balancer_reload: Annotated[str | None, typer.Option(help="NAME=COMMAND that reloads one; more after a ;")] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", help="One of the limits in docs/limits.rst, as name=number.")
    ] = None,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Run the master in the foreground."""
    from controlplane.config import MasterSettings, load_settings
    from controlplane.logs import begin_logging
    from controlplane.master.process import main as run
    from controlplane.records.limits import Limits

    flags = {"state_dir": state_dir, "url": url, "events_kept": events_kept, "webhook_port": webhook_port}
    flags.update(outgoing=outgoing, balancer_dir=balancer_dir, balancer_reload=balancer_reload, log_format=log_format)
    settings = load_settings(MasterSettings, "master", config, {**flags, "log_level": log_level})
    limits = load_settings(Limits, "limits", config, dict(_named(text, "--limit") for text in limit or []))
    begin_logging("master", settings.log_format, settings.log_level)
    sys.exit(run(settings, limits))


@app.command()
def agent(
    state_dir: Annotated[
        str | None, typer.Option(help="Directory of this node. [default: ~/.local/state/controlplane/node]")
    ] = None,
    join: Annotated[str | None, typer.Option(help="Token of 'controlplane node invite'; it counts once.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the node, unless the token says. [default: the host's]")] = None,
    url: Annotated[
        str | None, typer.Option(help="Of the router. [default: what was joined, or ws://127.0.0.1:8080/ws]")
    ] = None,
    ca_file: Annotated[str | None, typer.Option(help="Authority of the router's certificate, a PEM file.")] = None,
    server_keys: Annotated[
        str | None, typer.Option(help="Fingerprints of the router's key, this one and the next, with a comma between.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="What workers listen on and clients are told. [default: 127.0.0.1]")
    ] = None,
    first_port: Annotated[int | None, typer.Option(help="First port for workers. [default: 10000]")] = None,
    last_port: Annotated[int | None, typer.Option(help="Last port for workers. [default: 10999]")] = None,
    capacity: Annotated[int | None, typer.Option(help="Most workers on this node. [default: no limit]")] = None,
    drivers: Annotated[
        str | None, typer.Option(help="Of router, process, container, with commas between. [default: router]")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="URL of the container engine. [default: DOCKER_HOST, or the usual socket]")
    ] = None,
    keep_workers: Annotated[
        bool | None, typer.Option("--keep-workers/--stop-workers", help="On SIGTERM. [default: --stop-workers]")
    ] = None,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Run the agent of this machine in the foreground."""
    import msgspec

    from controlplane.config import AgentSettings, load_settings

    flags = {"state_dir": state_dir, "url": url, "address": address, "first_port": first_port, "last_port": last_port}
    flags.update({"ca_file": os.path.abspath(ca_file) if ca_file else None, "server_keys": server_keys})
    flags.update({"join": join, "name": name, "capacity": capacity, "drivers": drivers, "keep_workers": keep_workers})
    flags.update({"engine": engine})
    flags.update({"log_format": log_format, "log_level": log_level})
    settings = load_settings(AgentSettings, "agent", config, flags)
    lean = [sys.executable, "-m", "controlplane.agent", msgspec.json.encode(settings).decode()]
    os.execv(sys.executable, lean)


@app.command()
def dev(
    state_dir: Annotated[
        str | None, typer.Option(help="Keep state here and resume it. [default: a directory that is removed]")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="How many agents.")] = 2,
    empty: Annotated[bool, typer.Option("--empty", help="Create no cluster.")] = False,
) -> None:
    """Run everything on this machine: router, master, agents, and a router cluster to try."""
    from controlplane.cli.dev import run_dev

    sys.exit(run_dev(state_dir, nodes, empty))


@app.command()
def status(
    within: Annotated[float, typer.Option(help="Wait for so many seconds until router and master are there.")] = 0.0,
    connection: ConnectionFile = None,
    json_: AsJson = False,
) -> None:
    """Show nodes, clusters and workers."""
    from controlplane.cli.client import when_there
    from controlplane.cli.overview import read_overview
    from controlplane.cli.render import print_json, print_overview

    overview = when_there(connection, read_overview, within)
    (print_json if json_ else print_overview)(overview)


@app.command()
def call(
    procedure: Annotated[str, typer.Argument(help="Name of a procedure; the last part is enough where it is unique.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="As JSON, or as text.")] = None,
    kw: Annotated[list[str] | None, typer.Option("--kw", help="Keyword argument k=v, v as JSON or text.")] = None,
    field: Annotated[str | None, typer.Option(help="Print this field of the result alone.")] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="Text of your own: the same call with the same key is made once, however often it is sent."),
    ] = None,
    connection: ConnectionFile = None,
) -> None:
    """Call a procedure and print its result as JSON."""
    from controlplane.cli.arguments import read_arguments
    from controlplane.cli.client import call_procedure, one_shot, resolve
    from controlplane.cli.render import print_json

    named = [_named(text, "--kw") for text in kw or []]
    args, kwargs = read_arguments(resolve(procedure), arguments or [], named)
    if idempotency_key is not None:
        kwargs["idempotency_key"] = idempotency_key
    result = one_shot(connection, lambda session: call_procedure(session, procedure, args, kwargs))
    if field is None:
        print_json(result)
    elif isinstance(result, dict) and field in result:
        print(result[field] if isinstance(result[field], str) else json.dumps(result[field]))
    else:
        fields = f"; it has {', '.join(result)}" if isinstance(result, dict) else ""
        raise typer.BadParameter(f"the result has no field {field!r}{fields}", param_hint="--field")


@app.command()
def events(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with events as they happen.")] = False,
    after: Annotated[int | None, typer.Option(help="Events after this number. [default: the last 20]")] = None,
    connection: ConnectionFile = None,
    json_: AsJson = False,
) -> None:
    """Show what happened, and with -f what happens."""
    from controlplane.cli.client import lasting, one_shot
    from controlplane.cli.events import EventLog

    log = EventLog(after, json_)
    if follow:
        lasting(connection, log.follow)
    else:
        one_shot(connection, log.print_stored)


@app.command()
def wait(
    cluster: Annotated[str, typer.Argument(help="Oid or name of a cluster, or oid of an action.")],
    status: Annotated[str, typer.Argument(help="Such as RUNNING or STOPPED; of an action SUCCEEDED.")],
    within: Annotated[float, typer.Option(help="Give up after so many seconds.")] = 120.0,
    connection: ConnectionFile = None,
) -> None:
    """Wait until a cluster or an action has a status."""
    from controlplane.cli.client import lasting
    from controlplane.cli.events import Wait

    lasting(connection, Wait(cluster, status, within).until_reached, within)


@app.command()
def logs(
    worker: Annotated[str, typer.Argument(help="Name or oid of a worker, or the beginning of its oid.")],
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, max=100_000, help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what it writes.")] = False,
    connection: ConnectionFile = None,
) -> None:
    """Show the last lines that a worker has written, and with -f what it writes."""
    from controlplane.cli.client import lasting, one_shot
    from controlplane.cli.worker_logs import WorkerLog

    log = WorkerLog(worker, lines)
    if follow:
        lasting(connection, log.follow)
    else:
        one_shot(connection, log.print_last)


@app.command()
def key(
    state_dir: Annotated[
        str | None, typer.Option(help="Directory of a node. [default: ~/.local/state/controlplane/node]")
    ] = None,
) -> None:
    """Print the public key of a node's agent; the key is made when there is none."""
    from pathlib import Path

    from controlplane.config import AgentSettings
    from controlplane.keys import KEY_FILE, ensure_key, public_key

    directory = Path(state_dir or AgentSettings().state_dir)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    print(public_key(ensure_key(directory / KEY_FILE)))


@app.command()
def backup(file: Annotated[str, typer.Argument(help="New file.")], state_dir: StateDir = None) -> None:
    """Write a consistent copy of the master's store to a file, also while the master runs."""
    from controlplane.cli.stores import backup_store

    backup_store(state_dir, file)


@app.command()
def restore(
    file: Annotated[str, typer.Argument(help="File that 'controlplane backup' wrote.")], state_dir: StateDir = None
) -> None:
    """Put a backup in the place of the master's store; the former store is kept beside it."""
    from controlplane.cli.stores import restore_store

    restore_store(state_dir, file)


@app.command()
def verify(
    file: Annotated[str | None, typer.Argument(help="A backup. [default: the master's store]")] = None,
    state_dir: StateDir = None,
) -> None:
    """Read the whole store, or a backup, and say whether it is whole; also while the master runs."""
    from controlplane.cli.stores import verify_store

    verify_store(state_dir, file)


certificate_app = typer.Typer(no_args_is_help=True, help="The certificate of the router.")
app.add_typer(certificate_app, name="certificate")


@certificate_app.command("show")
def show_certificate(state_dir: StateDir = None, json_: AsJson = False) -> None:
    """Show for whom the router's certificate is, until when, and the fingerprints of its keys."""
    from controlplane.cli.setup import show_certificate as show

    show(state_dir, json_)


@certificate_app.command("renew")
def renew_certificate(
    state_dir: StateDir = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Also change to the next key.")] = False,
) -> None:
    """Issue the router's certificate anew, and return when the router serves it."""
    from controlplane.cli.setup import renew_certificate as renew

    renew(state_dir, new_key)


@certificate_app.command("fingerprint")
def print_fingerprint(state_dir: StateDir = None) -> None:
    """Print the fingerprints of the router's key and of the next one, as --server-keys takes them."""
    from controlplane.cli.setup import print_fingerprints

    print_fingerprints(state_dir)


imports = typer.Typer(no_args_is_help=True, help="Take over what another master keeps.")
app.add_typer(imports, name="import")


@imports.callback()
def _of_another_master() -> None:
    """Keep the name of the other master a command of its own."""


@imports.command("crossbar-master")
def import_crossbar_master(
    path: Annotated[str, typer.Argument(help="Directory of the node that Crossbar.io's master was run in.")],
    realm: Annotated[str, typer.Option(help="Its management realm.")] = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is.")] = False,
    connection: ConnectionFile = None,
) -> None:
    """Create the users, nodes, router clusters, worker groups and memberships of Crossbar.io's master here.

    Its database is only read. Oids and names stay; every cluster is stopped at first. A second time changes nothing.
    """
    from controlplane.cli.client import one_shot
    from controlplane.cli.imports import Line, print_report, read_objects, take_over
    from controlplane.records.imports import noun_of

    found = read_objects(path, realm)
    if dry_run:
        print_report([*(Line(noun_of(each), name, "found") for name, each in found.objects), *found.refused])
    else:
        print_report(one_shot(connection, lambda session: take_over(session, found)))


def main() -> NoReturn:
    """Run the command line; what goes wrong is said in words."""
    leave_out_bjdata()
    try:
        app()
    except ControlPlaneError as problem:
        fail(problem)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(0)


def fail(problem: ControlPlaneError) -> NoReturn:
    """Say what is wrong, where, and what to do, and exit with 1."""
    print(f"error: {problem.message} [{problem.uri}]", file=sys.stderr)
    for path, message in problem.problems:
        print(f"  {path}: {message}", file=sys.stderr)
    if problem.next_step:
        print(f"next: {problem.next_step}", file=sys.stderr)
    sys.exit(1)


def _named(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not of the form name=value", param_hint=option)
    return name, value
