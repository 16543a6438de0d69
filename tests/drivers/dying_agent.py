"""An agent that can be killed: runs one worker with the process driver until it is.

`python -m tests.drivers.dying_agent DIRECTORY FIRST_PORT LAST_PORT SPEC` prints the worker's pid when it serves.
"""

import sys
from pathlib import Path

import msgspec

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import ensureDeferred  # noqa: E402

from controlplane.records.workers import WorkerSpec  # noqa: E402
from tests.drivers.benches import ProcessBench  # noqa: E402


async def run(home, first, last, spec):
    bench = ProcessBench(Path(home), (int(first), int(last)))
    await bench.open()
    unit = await bench.start(msgspec.json.decode(spec, type=WorkerSpec))
    sys.stdout.write(f"{unit.pid}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    ensureDeferred(run(*sys.argv[1:])).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
    reactor.run()
