"""What a health policy makes of what is found: who is not well, who is brought back, and what is given up."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from controlplane.core.recovering import FAILURES_MAX
from controlplane.errors import Problem
from controlplane.records.health_policies import (
    Detection,
    GivenUp,
    HealthPolicy,
    LifecycleEvents,
    RecoveryLimits,
    RecoveryRule,
    StatusPolling,
    UrlLook,
    UrlPolling,
)
from controlplane.records.recoveries import Chain, Checked, Operation
from controlplane.records.types import NANOSECONDS, Instant, Seconds
from controlplane.records.workers import Want, Worker, WorkerStatus

WHOLE = "*"
"""In what is given up: the cluster as a whole."""

PAGES_PARALLEL_MAX = 32
"""That an agent asks for at a time, of one cluster."""

STATUS, URL = "NODE_STATUS_POLLING", "NODE_STATUS_POLL_URL"
PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([a-z][a-z0-9_]{0,31}))?\}")
NAMES = frozenset({"name", "nodename", "index", "oid"})


class Case(NamedTuple):
    """A worker that is not well, and why."""

    worker: Worker
    reason: str


class Past(NamedTuple):
    """An action with which the policy brought workers back."""

    created: Instant
    places: frozenset[str]


class Decided(NamedTuple):
    """What a policy does about workers that are not well."""

    recover: list[Case]
    given_up: dict[str, GivenUp]
    """Places, complete: those from before that are given up still, and new ones."""

    news: list[tuple[str, Case]]
    """Those that were given up just now."""


def place_of(worker: Worker) -> str:
    """Return what stays the same when another worker takes the place of one."""
    return f"{worker.workergroup_oid.hex if worker.workergroup_oid is not None else 'router'}/{worker.index}"


def modes_of(detection: Detection) -> frozenset[str]:
    """Return in which ways a policy looks."""
    return frozenset(mode.__struct_config__.tag for mode in detection.detection_modes)  # type: ignore[misc]


def url_mode(detection: Detection) -> UrlPolling | None:
    """Return which page a policy has asked for, or None."""
    return next((mode for mode in detection.detection_modes if isinstance(mode, UrlPolling)), None)


def what_is_wrong(
    rule: HealthPolicy,
    worker: Worker,
    looks: Mapping[str, Checked],
    now: Instant,
    polled: bool = True,
) -> str | None:
    """Return why a worker is not well in the eyes of a policy, or None; `looks` are what agents found, by mode.

    Without `polled` nobody was asked, and only what agents report by themselves counts.
    """
    if worker.want is not Want.RUN or worker.status in (WorkerStatus.PENDING, WorkerStatus.STOPPED):
        return None
    found: list[str | None] = []
    for mode in rule.detection.detection_modes:
        match mode:
            case LifecycleEvents():
                found.append(_from_events(worker))
            case StatusPolling():
                found.append(_from_look(rule, worker, looks.get(STATUS), now) if polled else None)
            case UrlPolling():
                found.append(_from_look(rule, worker, looks.get(URL), now) if polled else None)
    reasons = [reason for reason in found if reason is not None]
    if rule.detection.recovery_conditional == "ALL_FAILED" and len(reasons) < len(found):
        return None
    return "; ".join(dict.fromkeys(reasons)) or None


def decide(
    rule: RecoveryRule,
    cases: Sequence[Case],
    well: Iterable[str],
    history: Sequence[Past],
    given_up: Mapping[str, GivenUp],
    now: Instant,
) -> Decided:
    """Return whom a policy brings back; `well` are the places in which all is well, `history` is what it has done.

    What was given up stays so until all is well there and what was done there is long ago.
    """
    limits = rule.limits
    recent = [past for past in history if now - past.created < limits.within * NANOSECONDS]
    counts: dict[str, int] = {}
    for past in recent:
        for place in past.places:
            counts[place] = counts.get(place, 0) + 1
    healed = {place for place in well if counts.get(place, 0) < limits.worker_max}
    if not cases and len(recent) < limits.cluster_max:
        healed.add(WHOLE)
    kept = {place: since for place, since in given_up.items() if place not in healed}
    decided = Decided([], kept, [])
    for case in cases:
        place = place_of(case.worker)
        if WHOLE in kept or place in kept:
            continue
        if len(recent) >= limits.cluster_max:
            _give_up(decided, WHOLE, case, _too_often("the cluster", len(recent), limits), now)
        elif counts.get(place, 0) >= limits.worker_max:
            _give_up(decided, place, case, _too_often("it", counts[place], limits), now)
        else:
            decided.recover.append(case)
    return decided


def chain_of(rule: RecoveryRule) -> Chain:
    """Return what a policy does about a worker."""
    return Chain(
        operations=tuple(Operation(action.name) for action in rule.actions),
        patience=max(action.params.timeout for action in rule.actions),
        hard=any(action.params.type == "HARD" for action in rule.actions),
    )


def url_limit(look: UrlLook) -> Seconds:
    """Return how long it may take until an agent knows whether a page is good."""
    options = look.options
    return options.poll_url_retry_limit * (options.poll_url_timeout + options.poll_url_retry_interval)


def fill_url(url: str, worker: Worker, name: str) -> str | None:
    """Return a URL for one worker, or None when it has no address of a name that is in there."""
    values = {"name": name, "nodename": name, "index": str(worker.index), "oid": str(worker.oid)}
    urls = {address.type: address.url for address in worker.addresses}
    missing = [port for what, port in PLACEHOLDER.findall(url) if what == "url" and port not in urls]
    if missing:
        return None
    return PLACEHOLDER.sub(lambda m: urls[m[2]] if m[1] == "url" else values.get(m[1], m[0]), url)


def health_problems(rule: HealthPolicy) -> Iterator[Problem]:
    """Yield what is wrong with a policy of the right types."""
    modes = [mode.__struct_config__.tag for mode in rule.detection.detection_modes]
    for place, mode in enumerate(rule.detection.detection_modes):
        at = f"$.detection.detection_modes[{place}]"
        if modes[place] in modes[:place]:
            yield Problem(f"{at}.type", "is there twice")
        if isinstance(mode, UrlPolling):
            options = mode.options
            if not options.poll_url.startswith(("http://", "https://", "{url:")):
                yield Problem(f"{at}.options.poll_url", "begins with neither http:// nor https:// nor {url:NAME}")
            for what, port in PLACEHOLDER.findall(options.poll_url):
                if (what == "url") != bool(port) or (what != "url" and what not in NAMES):
                    yield Problem(f"{at}.options.poll_url", f"has a placeholder {{{what}}} that there is not")
            try:
                re.compile(options.poll_url_healthy_response)
            except (re.error, RecursionError, OverflowError) as problem:
                yield Problem(f"{at}.options.poll_url_healthy_response", f"is no regular expression: {problem}")
            if options.poll_url_healthy_status_min > options.poll_url_healthy_status_max:
                yield Problem(f"{at}.options.poll_url_healthy_status_min", "is more than the highest status")


def _from_events(worker: Worker) -> str | None:
    if worker.status is WorkerStatus.UNREACHABLE:
        return worker.reason or "its node is silent"
    if worker.status is not WorkerStatus.ERROR:
        return None
    # One that has just died is being started again by its agent, and one that still runs was found not to be well.
    if worker.failures >= FAILURES_MAX or worker.started is not None:
        return worker.reason or "it failed"
    return None


def _from_look(rule: HealthPolicy, worker: Worker, look: Checked | None, now: Instant) -> str | None:
    if look is None or look.well:
        return None
    since = worker.changed if worker.started is None else worker.started
    if now - since < rule.detection.node_update_timeout * NANOSECONDS:
        return None
    return look.reason or "it was not found to be well"


def _give_up(decided: Decided, place: str, case: Case, reason: str, now: Instant) -> None:
    decided.given_up[place] = GivenUp(since=now, reason=f"{reason}; now: {case.reason}")
    decided.news.append((place, case))


def _too_often(what: str, times: int, limits: RecoveryLimits) -> str:
    return f"{what} was brought back {times} times within {limits.within:g} s"
