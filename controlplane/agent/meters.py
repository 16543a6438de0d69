"""What workers of this node use, measured for as long as the master goes on asking.

Nobody asks unless a policy of the cluster needs it; then nothing is measured, sent or kept. The master asks again and
again; between two questions samples are taken here, and the answer is what they come to. When the master stops asking
for a worker, whatever the reason, it is forgotten.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from controlplane.clock import Clock
from controlplane.core.metrics import Sample, sample_of, usage
from controlplane.loop import Loop
from controlplane.records.metrics import Watch
from controlplane.records.types import Oid, Seconds, to_wire

SAMPLES_MAX = 60
"""Of one worker between two questions."""

SAMPLE_PERIOD_MIN_S = 0.5
SAMPLES = "samples"


class _Meter:
    """What is known of one worker."""

    __slots__ = ("samples", "until")

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.until: Seconds = 0.0


class Meters:
    """The workers that are measured."""

    def __init__(self, clock: Clock, statistics: Callable[[tuple[Oid, ...]], Awaitable[dict[str, Any]]]) -> None:
        """`statistics` returns figures of those workers that run and answer, by oid."""
        self._clock = clock
        self._statistics = statistics
        self._meters: dict[Oid, _Meter] = {}
        self._period = SAMPLE_PERIOD_MIN_S
        self._loop: Loop[str] = Loop("meters", clock, self._pass)

    def __len__(self) -> int:
        return len(self._meters)

    async def measure(self, oids: tuple[Oid, ...], watch: Watch) -> dict[str, Any]:
        """Return what these workers used since they were asked for last, and go on measuring them."""
        self._period = max(SAMPLE_PERIOD_MIN_S, watch.period)
        until = self._clock.seconds() + watch.keep
        for oid in oids:
            meter = self._meters.setdefault(oid, _Meter())
            meter.until = max(meter.until, until)
        answered = await self._sample(oids)
        answer = {}
        for oid in answered:
            meter = self._meters[oid]
            answer[str(oid)] = to_wire(usage(meter.samples))
            del meter.samples[:-1]
        self._loop.wake_after(SAMPLES, self._period)
        return answer

    async def close(self) -> None:
        """Measure no more."""
        await self._loop.close()
        self._meters.clear()

    async def _pass(self, _key: str) -> Seconds | None:
        now = self._clock.seconds()
        self._meters = {oid: meter for oid, meter in self._meters.items() if meter.until > now}
        if not self._meters:
            return None
        await self._sample(tuple(self._meters))
        return self._period

    async def _sample(self, oids: tuple[Oid, ...]) -> list[Oid]:
        """Take a sample of each worker, and return of which there is one now."""
        figures = await self._statistics(oids)
        now = self._clock.seconds()
        taken = []
        for oid in oids:
            meter = self._meters.get(oid)
            found = figures.get(str(oid))
            if meter is not None and found is not None:
                meter.samples.append(sample_of(found, now))
                del meter.samples[1 : len(meter.samples) - SAMPLES_MAX]
                taken.append(oid)
        return taken
