"""`controlplane node`, `controlplane user` and `controlplane audit`: who may log in, and who did what."""

from typing import Annotated

import typer

ConnectionFile = Annotated[
    str | None,
    typer.Option(
        "--connection",
        envvar="CONTROLPLANE_CONNECTION",
        help="Saved connection. [default: ~/.local/state/controlplane/connection.json]",
    ),
]
Url = Annotated[str | None, typer.Option(help="Of the router, as the other side reaches it. [default: this one's]")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the token alone.")]

node = typer.Typer(no_args_is_help=True, help="Nodes: invite machines, change their keys.")
audit = typer.Typer(no_args_is_help=True, help="Who changed what, or tried to.")
user = typer.Typer(no_args_is_help=True, help="Users: invite people and programs, register and change keys.")


@node.command("invite")
def invite_node(
    name: Annotated[str | None, typer.Argument(help="Of the node. [default: what the machine calls itself]")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="That the node gets; may be repeated.")] = None,
    capacity: Annotated[int | None, typer.Option(help="Most workers that it takes, whatever its agent says.")] = None,
    region: Annotated[str | None, typer.Option(help="Where the node stands, for policies that go by it.")] = None,
    zone: Annotated[str | None, typer.Option(help="What it shares with others that fail with it.")] = None,
    minutes: Annotated[float, typer.Option(help="For which the token is valid, 15 at most.")] = 15,
    url: Url = None,
    quiet: Quiet = False,
    connection: ConnectionFile = None,
) -> None:
    """Print a token with which one machine can join, once, and the command for that machine."""
    from controlplane.cli.invite import invite

    settings = {"node_name": name, "tags": tag, "capacity": capacity, "region": region, "zone": zone}
    token = invite(connection, url, "node", minutes * 60, settings)
    print(
        token if quiet else f"On the other machine, within {minutes:g} minutes:\n\n  controlplane agent --join {token}"
    )


@node.command("rotate-key")
def rotate_node_key(
    name: Annotated[str, typer.Argument(help="Of the node.")], connection: ConnectionFile = None
) -> None:
    """Have a node's agent make a new key and log in with it; its workers go on."""
    from controlplane.cli.invite import rotate_node

    rotate_node(connection, name)
    print(f"node {name} logs in with a new key now; its old one is void")


@user.command("invite")
def invite_user(
    name: Annotated[str, typer.Argument(help="That the user logs in with; created when there is none.")],
    role: Annotated[str | None, typer.Option(help="owner, admin, operator or viewer. [default: viewer]")] = None,
    hours: Annotated[float, typer.Option(help="For which the token is valid, 168 at most.")] = 24,
    url: Url = None,
    quiet: Quiet = False,
    connection: ConnectionFile = None,
) -> None:
    """Print a token with which one user can register a key, once, and the command for it."""
    from controlplane.cli.invite import invite

    token = invite(connection, url, "user", hours * 3600, {"name": name, "role": role})
    print(token if quiet else f"{name} runs, within {hours:g} hours:\n\n  controlplane user register {token}")


@user.command("register")
def register(
    token: Annotated[str, typer.Argument(help="That 'controlplane user invite' printed.")],
    connection: ConnectionFile = None,
) -> None:
    """Make a key, register it with a token, and save the connection."""
    from controlplane.cli.invite import register_user

    saved = register_user(connection, token)
    print(f"registered; the connection is saved in {saved}")


@user.command("rotate-key")
def rotate_user_key(connection: ConnectionFile = None) -> None:
    """Log in with a new key from now on; the old one is void."""
    from controlplane.cli.invite import rotate_own_key

    print(f"the key in {rotate_own_key(connection)} is a new one now")


@user.command("list")
def list_users(connection: ConnectionFile = None) -> None:
    """Show the users."""
    from controlplane.cli.invite import read_users
    from controlplane.cli.render import print_users

    print_users(read_users(connection))


@audit.command("list")
def list_audit(
    by: Annotated[str | None, typer.Option(help="Of this user or node alone.")] = None,
    action: Annotated[str | None, typer.Option(help="That begin with this name.")] = None,
    oid: Annotated[str | None, typer.Option("--object", help="About the object with this oid.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="That were refused.")] = False,
    after: Annotated[int, typer.Option(help="After this number.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    connection: ConnectionFile = None,
) -> None:
    """Show changes that were done and that were refused."""
    from controlplane.cli.audits import read_audit
    from controlplane.cli.render import print_audit, print_json

    filters = {"authid": by, "action_prefix": action, "object_oid": oid, "outcome": "refused" if refused else None}
    entries = read_audit(connection, after, {name: value for name, value in filters.items() if value is not None})
    (print_json if json_ else print_audit)(entries)


@audit.command("export")
def export_audit(
    file: Annotated[str, typer.Argument(help="New file, a line of JSON per entry.")], connection: ConnectionFile = None
) -> None:
    """Write the whole audit to a file that can be verified anywhere."""
    from controlplane.cli.audits import export

    print(f"wrote {export(connection, file)} entries to {file}")


@audit.command("verify")
def verify_audit(
    file: Annotated[str | None, typer.Argument(help="That was exported. [default: what the master has]")] = None,
    expect: Annotated[str | None, typer.Option(help="NUMBER:DIGEST that was noted earlier and must be in it.")] = None,
    connection: ConnectionFile = None,
) -> None:
    """Say whether no entry was altered, left out or slipped in."""
    from controlplane.cli.audits import verify

    print(verify(connection, file, expect))
