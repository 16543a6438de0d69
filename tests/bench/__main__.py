"""`scripts/bench [NAME ...]`: run benchmarks and print one line per figure."""

import argparse
import importlib
from datetime import UTC, datetime

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from tests.bench.harness import machine  # noqa: E402

MODULES = (
    "calls",
    "writes",
    "changes",
    "actions",
    "lists",
    "growth",
    "planner",
    "restart",
    "fanout",
    "crowd",
    "joins",
    "footprint",
)


async def main(names: list[str]) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d} on {machine()}", flush=True)
    for name in names or MODULES:
        module = importlib.import_module(f"tests.bench.{name}")
        for figure in await module.run():
            print(figure.line(), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench", description="Run benchmarks and print one line per figure.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(MODULES)}")
    given = parser.parse_args()
    for name in given.names:
        if name not in MODULES:
            parser.error(f"there is no benchmark {name}; there are {', '.join(MODULES)}")
    return given


if __name__ == "__main__":
    given = arguments()
    react(lambda reactor: ensureDeferred(main(given.names)))
