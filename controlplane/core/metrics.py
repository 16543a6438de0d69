"""What measurements mean: of one worker over time, and of many at one time. Pure functions."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from controlplane.records.metrics import Aggregate, Usage
from controlplane.records.types import Seconds

PERCENT = 100


class Sample(NamedTuple):
    """What a driver said of a worker at one moment."""

    at: Seconds
    cpu_seconds: float | None
    memory: float | None
    values: Mapping[str, float]


def sample_of(figures: Mapping[str, Any], at: Seconds) -> Sample:
    """Return what a driver's figures say; figures that it does not have are None.

    Those of router workers are what Crossbar.io says of its processes, and at frontends how many are connected.
    """
    process = figures.get("process")
    if isinstance(process, dict):
        parts = [_number(process.get(name)) for name in ("cpu_user_s", "cpu_system_s")]
        spent = None if None in parts else sum(part for part in parts if part is not None)
        connections = _number(figures.get("connections"))
        values = {} if connections is None else {"connections": connections}
        return Sample(at, spent, _number(process.get("memory_resident_bytes")), values)
    own = figures.get("values")
    values = own if isinstance(own, dict) else {}
    return Sample(at, _number(figures.get("cpu_seconds")), _number(figures.get("memory")), values)


def usage(samples: Iterable[Sample]) -> Usage:
    """Return what a worker used from the first of some samples to the last, on average.

    The first one is where the processor time is counted from: of nothing else, unless it is the only one. A worker that
    was started anew in between begins to count at zero, and so do we.
    """
    known = list(samples)
    looked = known[1:] or known
    spent = passed = 0.0
    for before, after in itertools.pairwise(known):
        if before.cpu_seconds is not None and after.cpu_seconds is not None and after.cpu_seconds >= before.cpu_seconds:
            spent += after.cpu_seconds - before.cpu_seconds
            passed += after.at - before.at
    memory = [sample.memory for sample in looked if sample.memory is not None]
    names = {name for sample in looked for name in sample.values}
    return Usage(
        cpu=PERCENT * spent / passed if passed > 0 else None,
        memory=sum(memory) / len(memory) if memory else None,
        values={
            name: _mean(sample.values[name] for sample in looked if name in sample.values) for name in sorted(names)
        },
    )


def value_of(found: Usage, metric: str) -> float | None:
    """Return one metric of a worker."""
    match metric:
        case "cpu":
            return found.cpu
        case "memory":
            return found.memory
        case _:
            return found.values.get(metric)


def aggregate(found: Iterable[Usage], metrics: Iterable[str]) -> dict[str, Aggregate]:
    """Return metrics of several workers; those that no worker has are left out."""
    workers = list(found)
    result = {}
    for metric in metrics:
        values = [value for each in workers if (value := value_of(each, metric)) is not None]
        if values:
            result[metric] = Aggregate(count=len(values), sum=sum(values), minimum=min(values), maximum=max(values))
    return result


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
