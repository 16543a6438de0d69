"""An agent that can be killed: runs one worker with the process driver until it is.

`python -m tests.drivers.dying_agent DIRECTORY FIRST_PORT LAST_PORT SPEC [FENCE]` prints the worker's pid when it
serves. With FENCE it has a lease of so many seconds, which is renewed ten times a second.
"""

import sys
import time
from pathlib import Path

import msgspec

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import ensureDeferred  # noqa: E402
from twisted.internet.task import LoopingCall  # noqa: E402

from controlplane.records.workers import WorkerSpec  # noqa: E402
from tests.drivers.benches import ProcessBench  # noqa: E402


async def run(home, first, last, spec, fence=None):
    bench = ProcessBench(Path(home), (int(first), int(last)))
    await bench.open()
    unit = await bench.start(msgspec.json.decode(spec, type=WorkerSpec))
    if fence is not None:
        LoopingCall(lambda: bench.driver.renew(time.clock_gettime(time.CLOCK_BOOTTIME))).start(0.1)
        bench.driver.guard({unit.oid: float(fence)})
    sys.stdout.write(f"{unit.pid}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    ensureDeferred(run(*sys.argv[1:])).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
    reactor.run()
