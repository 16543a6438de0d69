"""What a person sees."""

import json
import sys
from typing import Any

from controlplane.records.types import NANOSECONDS

FILE_WIDTH = 160


def print_json(value: Any) -> None:
    """Print a value for programs, and well enough for people."""
    print(json.dumps(value, indent=2, default=str))


def print_overview(overview: dict[str, Any]) -> None:
    """Print nodes, clusters and workers as tables."""
    console = make_console()
    for table in overview_tables(overview):
        console.print(table)


def print_users(users: list[dict[str, Any]]) -> None:
    """Print users as a table."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "role", "status", "sessions", "clusters", "teams", "oid"):
        table.add_column(column, overflow="fold")
    for user in users:
        status = "disabled" if user["disabled"] else "invited" if user["pubkey"] is None else "active"
        counts = (str(user["sessions"]), str(user["clusters"]))
        table.add_row(user["authid"], user["role"], status, *counts, ", ".join(user["teams"]), user["oid"])
    make_console().print(table)


def print_audit(entries: list[dict[str, Any]]) -> None:
    """Print audit entries, a line each: when, who, from where, what, on what, and why not."""
    from datetime import datetime

    for entry in entries:
        when = datetime.fromtimestamp(entry["time"] / NANOSECONDS).strftime("%Y-%m-%d %H:%M:%S")
        objects = ", ".join(f"{change['type']} {change['name'] or change['oid'][:8]}" for change in entry["changes"])
        about = objects if entry["outcome"] == "done" else f"refused: {entry['message']}"
        who = f"{entry['authid'] or '-'} ({entry['peer'] or '-'})"
        print(f"{entry['seq']:>7}  {when}  {who:<32} {entry['action'].rpartition('.')[2]:<30} {about}")


def make_console() -> Any:
    """Return what tables are printed on: the terminal as wide as it is, a file wide enough for all columns."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def overview_tables(overview: dict[str, Any]) -> list[Any]:
    """Return nodes, clusters and workers as tables."""
    from rich import box
    from rich.table import Table

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            made.add_column(column, overflow="fold")
        return made

    names = {node["oid"]: node["name"] for node in overview["nodes"]}
    nodes = table("Nodes", "name", "status", "workers", "address", "ports", "oid")
    for node in overview["nodes"]:
        ports = "-".join(str(port) for port in node["ports"] or ())
        nodes.add_row(node["name"], node["status"], str(node["workers"]), node["address"] or "", ports, node["oid"])
    clusters = table("Clusters", "name", "type", "status", "workers", "reason", "oid")
    workers = table("Workers", "cluster", "group", "#", "node", "status", "address or reason", "restarts", "pid")
    for cluster in overview["clusters"]:
        running = sum(worker["status"] == "RUNNING" for worker in cluster["workers"])
        clusters.add_row(
            cluster["name"],
            cluster["type"],
            cluster["status"],
            f"{running} of {len(cluster['workers'])} run",
            cluster["reason"] or "",
            cluster["oid"],
        )
        for worker in cluster["workers"]:
            shown = " ".join(address["url"] for address in worker["addresses"]) or worker["reason"] or ""
            workers.add_row(
                cluster["name"],
                cluster["groups"].get(worker["workergroup_oid"], "(router)"),
                str(worker["index"]),
                names.get(worker["node_oid"], ""),
                worker["status"],
                shown,
                str(worker["restarts"]),
                str(worker["pid"] or ""),
            )
    return [nodes, clusters, workers]


def event_line(event: dict[str, Any]) -> str:
    """Return an event in one line: when, what, and about what."""
    from datetime import datetime

    payload = event["payload"]
    when = datetime.fromtimestamp(event["time"] / NANOSECONDS).strftime("%H:%M:%S.%f")[:-3]
    what = event["topic"].rpartition(".on_")[2]
    about = [
        f"{key.removesuffix('_name')}={payload[key]}"
        for key in ("name", "authid", "cluster_name", "policy_name", "index", "status", "scale", "reason", "pid")
        if payload.get(key) is not None
    ]
    oid = payload.get("oid") or payload.get("node_oid") or payload.get("cluster_oid") or ""
    return f"{payload['seq']:>7}  {when}  {what:<34} {str(oid)[:8]}  {' '.join(about)}"
