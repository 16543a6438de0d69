"""The published contract in `schema/`: generated from the declarations, compared in CI, and never broken silently.

So is the typed client in `controlplane/client/nouns/`.

`python -m controlplane.contract` writes it, and refuses to when something that callers rely on would disappear without
a new major version. With `--check` it only compares.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from controlplane.client_source import FOLDER as CLIENT
from controlplane.client_source import sources
from controlplane.errors import (
    ControlPlaneError,
    IdempotencyConflict,
    InternalError,
    InvalidArgument,
    NotAuthorized,
    Overloaded,
    PayloadTooLarge,
    StoreFull,
    TooManyCalls,
)
from controlplane.master.plane import PROCEDURES
from controlplane.master.realm_roles import router_config
from controlplane.paths import crossbar_config
from controlplane.records import (
    actions,
    audit,
    clusters,
    definitions,
    events,
    imports,
    lifecycle,
    lone_workers,
    messages,
    nodes,
    operations,
    orders,
    outcomes,
    policies,
    principals,
    profiles,
    protocol,
    receivers,
    services,
    statistics,
    workers,
)
from controlplane.records.outcomes import IDEMPOTENCY_KEY, IdempotencyKey
from controlplane.records.services import CONTRACT_VERSION
from controlplane.records.types import Line
from controlplane.services.procedures import Definition, Find, Lookup, Parameter, Procedure
from controlplane.store.catalog import LAYOUT_VERSION, TABLES

EVERYWHERE = (
    InvalidArgument,
    NotAuthorized,
    TooManyCalls,
    IdempotencyConflict,
    Overloaded,
    PayloadTooLarge,
    StoreFull,
    InternalError,
)
"""Errors that any procedure can end with, beside its own."""

REFERENCE = "#/{name}"
FOLDER = Path(__file__).resolve().parent.parent / "schema"


def documents() -> dict[str, Any]:
    """Return the contents of the files in `schema/`, by name."""
    declared = sorted({procedure.uri: procedure for procedure in PROCEDURES.values()}.items())
    kinds = _record_kinds()
    _, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    return {
        "procedures.json": {
            "version": CONTRACT_VERSION,
            "procedures": [_procedure(p) for _, p in declared],
            "arguments_of_writing_procedures": [
                {
                    "name": IDEMPOTENCY_KEY,
                    "required": False,
                    "keyword_only": True,
                    "schema": _schema(IdempotencyKey),
                    "description": "Chosen by the caller: the same call with the same key is made once, and every "
                    "repetition gets the outcome of the first one.",
                }
            ],
            "errors_of_all_procedures": sorted(error.uri for error in EVERYWHERE),
        },
        "events.json": {"version": CONTRACT_VERSION, "events": [_event(kind) for kind in events.EVENT_TYPES]},
        "records.json": {"version": CONTRACT_VERSION, "records": dict(sorted(components.items()))},
        "errors.json": {
            "version": CONTRACT_VERSION,
            "errors": [
                {"uri": uri, "name": kind.__name__, "description": kind.__doc__}
                for uri, kind in sorted(ControlPlaneError.known.items())
            ],
        },
        "tables.json": {
            "version": CONTRACT_VERSION,
            "layout": LAYOUT_VERSION,
            "tables": [
                {
                    "uuid": str(table.space.uuid),
                    "record": table.kind.__name__,
                    "indexes": [{"name": index.name, "unique": index.unique} for index in table.indexes],
                }
                for table in TABLES
            ],
        },
    }


def breaking_changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what callers of the former contract could rely on and can no longer."""
    found = []
    old, new = _by(before, "procedures.json", "procedures"), _by(after, "procedures.json", "procedures")
    for uri, procedure in old.items():
        if uri not in new:
            found.append(f"procedure {uri} is gone")
            continue
        found.extend(_broken_procedure(uri, procedure, new[uri]))
    for kind, key in (("events", "topic"), ("errors", "uri")):
        gone = _by(before, f"{kind}.json", kind, key).keys() - _by(after, f"{kind}.json", kind, key).keys()
        found.extend(f"{kind.removesuffix('s')} {name} is gone" for name in sorted(gone))
    old_records = before.get("records.json", {}).get("records", {})
    new_records = after["records.json"]["records"]
    for name, record in old_records.items():
        if name not in new_records:
            found.append(f"record {name} is gone")
            continue
        fields = new_records[name].get("properties", {})
        for field, kind in record.get("properties", {}).items():
            if field not in fields:
                found.append(f"record {name} has no field {field} any more")
            elif _shape(fields[field]) != _shape(kind):
                found.append(f"field {field} of record {name} has another type")
    return found


def main(arguments: list[str]) -> int:
    """Write the contract, or compare it; return the exit status."""
    after = documents()
    router = crossbar_config("master.json")
    configured = router_config(json.loads(router.read_text()))
    before = {name: json.loads(path.read_text()) for name in after if (path := FOLDER / name).exists()}
    written = sources(PROCEDURES)
    if "--check" in arguments:
        drifted = [name for name in after if before.get(name) != json.loads(json.dumps(after[name]))]
        for name in drifted:
            print(f"schema/{name} is not what the declarations say; run scripts/contract", file=sys.stderr)
        if router.read_text() != configured:
            drifted.append(router.name)
            print(f"{router} has other rights than the table; run scripts/contract", file=sys.stderr)
        for name in (*written, *(path.name for path in CLIENT.glob("*.py"))):
            if not (CLIENT / name).exists() or (CLIENT / name).read_text() != written.get(name):
                print(f"client/nouns/{name} is not what the declarations say; run scripts/contract", file=sys.stderr)
                drifted.append(name)
        return 1 if drifted else 0
    broken = breaking_changes(before, after)
    former = str(before.get("procedures.json", {}).get("version", CONTRACT_VERSION))
    if broken and former.partition(".")[0] == CONTRACT_VERSION.partition(".")[0]:
        for line in broken:
            print(line, file=sys.stderr)
        print("this breaks callers: give CONTRACT_VERSION a new major number, or keep what they use", file=sys.stderr)
        return 1
    router.write_text(configured)
    FOLDER.mkdir(exist_ok=True)
    for name, document in after.items():
        (FOLDER / name).write_text(json.dumps(document, indent=2) + "\n")
    for path in CLIENT.glob("*.py"):
        path.unlink()
    for name, source in written.items():
        (CLIENT / name).write_text(source)
    return 0


def _record_kinds() -> list[Any]:
    modules = (
        actions,
        audit,
        clusters,
        definitions,
        events,
        imports,
        lifecycle,
        lone_workers,
        messages,
        nodes,
        operations,
        orders,
        outcomes,
        policies,
        principals,
        profiles,
        protocol,
        receivers,
        services,
        statistics,
        workers,
    )
    found = {
        value.__name__: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
    }
    return [found[name] for name in sorted(found)]


def _procedure(procedure: Procedure) -> dict[str, Any]:
    return {
        "uri": procedure.uri,
        "aliases": list(procedure.aliases),
        "description": procedure.text,
        "needs": procedure.needs,
        "writes": procedure.writes,
        "arguments": [_argument(parameter) for parameter in procedure.parameters],
        "result": _schema(procedure.result),
        "errors": sorted(error.uri for error in procedure.raises),
    }


def _argument(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"name": parameter.name, "required": parameter.required}
    match parameter.reader:
        case Find(table):
            described["schema"] = _schema(Line)
            described["names"] = table.noun
            described["by"] = "name, oid, or the beginning of an oid"
        case Lookup(table, by):
            described["schema"] = {"type": "string"} if by else {"type": "string", "format": "uuid"}
            described["names"] = table.noun
        case Definition(echoed):
            described["schema"] = _schema(parameter.kind)
            described["ignored"] = list(echoed)
        case _:
            described["schema"] = _schema(parameter.kind)
            described["default"] = parameter.default
    return described


def _event(kind: events.EventType) -> dict[str, Any]:
    return {
        "topic": kind.topic,
        "aliases": list(kind.aliases),
        "description": kind.text,
        "payload": REFERENCE.format(name=kind.payload.__name__),
        "adds": ["seq", "time"],
    }


def _schema(kind: Any) -> Any:
    if kind is None or kind is type(None):
        return {"type": "null"}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    return schema


def _by(documents_: dict[str, Any], file: str, key: str, name: str = "uri") -> dict[str, Any]:
    return {entry[name]: entry for entry in documents_.get(file, {}).get(key, [])}


def _broken_procedure(uri: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    found = [f"procedure {uri} is no longer called {name}" for name in old["aliases"] if name not in new["aliases"]]
    arguments = {argument["name"]: argument for argument in new["arguments"]}
    for argument in old["arguments"]:
        if argument["name"] not in arguments:
            found.append(f"procedure {uri} has no argument {argument['name']} any more")
    known = {argument["name"] for argument in old["arguments"] if argument["required"]}
    found.extend(
        f"procedure {uri} needs an argument {name} now"
        for name, argument in arguments.items()
        if argument["required"] and name not in known
    )
    order = [argument["name"] for argument in new["arguments"]][: len(old["arguments"])]
    if order != [argument["name"] for argument in old["arguments"]]:
        found.append(f"procedure {uri} has its arguments in another order")
    if _shape(old["result"]) != _shape(new["result"]):
        found.append(f"procedure {uri} returns something else")
    return found


def _shape(schema: Any) -> Any:
    """Return a schema without what only explains it."""
    if isinstance(schema, dict):
        return {key: _shape(value) for key, value in schema.items() if key not in ("title", "description", "default")}
    if isinstance(schema, list):
        return [_shape(value) for value in schema]
    return schema


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
