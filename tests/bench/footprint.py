"""What an agent and the command line cost: memory and time to start."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
from twisted.internet import reactor

from controlplane.clock import sleep
from tests.bench.harness import Figure, at_most, median
from tests.bench.stage import installed
from tests.e2e.installation import Installation

HELP_RUNS = 15
SETTLE_S = 2.0


async def run(
    installation: Installation | None = None, help_runs: int = HELP_RUNS, settle: float = SETTLE_S
) -> list[Figure]:
    """Memory of an agent beside the controller of the node that it drives, and the time that help takes."""
    if installation is None:
        async with installed(nodes=1) as made:
            return await run(made, help_runs, settle)
    folder = str(installation.directory)
    node = (await installation.call("controlplane.node.get_node_by_name", "node1"))["oid"]
    cluster, _ = await installation.cluster("weigh", 2, nodes=[node])
    await sleep(reactor, settle)
    agent = psutil.Process(installation.process("node1").pid)
    family = [p for p in psutil.process_iter(["cmdline"]) if folder in " ".join(p.info["cmdline"] or [])]
    holders = [p for p in family if "holder" in " ".join(p.info["cmdline"])]
    controllers = [p for p in _crossbar_controllers(folder) if p.pid != installation.process("router").pid]
    ours = agent.memory_info().rss
    both = ours + sum(p.memory_info().rss for p in holders)
    theirs = controllers[0].memory_info().rss
    await installation.remove(cluster)
    mib = 1 / 2**20
    return [
        at_most("memory of an agent / of Crossbar.io's controller", ours, theirs, 0.40, "MiB", "RSS", mib),
        at_most("the same with the holder of its socket", both, theirs, 0.40, "MiB", "RSS", mib),
        at_most("controlplane --help", median(_help(help_runs)), 0.10, 1.0, "s", "limit"),
    ]


def _crossbar_controllers(folder: str) -> list[psutil.Process]:
    from tests.e2e.installation import processes_of

    return [p for p in processes_of(Path(folder)) if "crossbar-controller" in " ".join(p.cmdline())]


def _help(runs: int) -> list[float]:
    taken = []
    program = Path(sys.executable).parent / "controlplane"
    for _ in range(runs):
        begun = time.perf_counter()
        subprocess.run([program, "--help"], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - begun)
    return taken
