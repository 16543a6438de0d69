"""What could be wrong with the master: its monitor, its uplinks, and what it makes of reports."""

from typing import Any
from uuid import UUID, uuid5

from controlplane.core.health import ClusterStatus
from controlplane.errors import NotAttached
from controlplane.loop import Loop
from controlplane.master import uplinks as uplink_module
from controlplane.master.monitor import Monitor
from controlplane.master.uplinks import Uplinks
from controlplane.records.workers import Want, WorkerStatus
from controlplane.services import agents as reports
from controlplane.services import clusters as cluster_service
from controlplane.services import ledger as ledgers
from controlplane.services.ledger import Ledger
from controlplane.services.specs import Drafts
from controlplane.store.catalog import NODES
from tests.simulation import mirror
from tests.simulation.defects.planting import Defect, around, replaced


def _die_of_one_exception(work: Any) -> Any:
    async def other(self: Monitor, oid: Any) -> Any:
        try:
            return await work(self, oid)
        except Exception:
            self._loop._closed = True
            raise

    return other


def _always_running(run: bool, *_: Any) -> ClusterStatus:
    return ClusterStatus.RUNNING if run else ClusterStatus.STOPPED


def _accept_old_sessions(self: Uplinks, node_oid: Any, _session: int, report: Any) -> bool:
    uplink = self._uplinks.get(node_oid)
    if uplink is None:
        raise NotAttached("nobody is attached")
    return self._is_news(node_oid, report)


def _accept_duplicates(accept: Any) -> Any:
    def other(self: Uplinks, node_oid: Any, session: int, report: Any) -> bool:
        accept(self, node_oid, session, report)
        return True

    return other


def _do_nothing(*_: Any, **__: Any) -> None:
    """Leave undone what is asked for."""


def _send_once(push: Any) -> Any:
    async def other(self: Uplinks, node_oid: Any) -> None:
        await push(self, node_oid)

    return other


def _attach_anyway(attach: Any) -> Any:
    def other(self: Uplinks, node_oid: Any, session: int, *args: Any) -> None:
        self._ended.clear()
        self._asked.add(session)
        attach(self, node_oid, session, *args)

    return other


def _note_only_absence(note: Any) -> Any:
    async def other(self: Uplinks, node_oid: Any) -> None:
        if node_oid not in self._uplinks:
            await note(self, node_oid)

    return other


def _note_absence_once(self: Any) -> Any:
    async def other(uplinks: Uplinks, node_oid: Any) -> None:
        try:
            await self(uplinks, node_oid)
        except Exception:
            return

    return other


def _ignore_missing(apply: Any) -> Any:
    def other(ledger: Ledger, node: Any, report: Any) -> None:
        apply(ledger, node, reports.msgspec.structs.replace(report, full=False))

    return other


def _believe_everybody(ledger: Ledger, node: Any, report: Any) -> None:
    """As `apply_report`, from whatever node the report comes."""
    known = 1 << 60
    for said in report.workers:
        worker = ledger.rows(reports.WORKERS).find(said.oid)
        if worker is not None and worker.want is Want.RUN:
            reports._apply_worker(ledger, worker, said, known)
    gone = set(report.gone)
    if report.full:
        mentioned = {said.oid for said in report.workers}
        gone.update(w.oid for w in ledger.rows(reports.WORKERS).all_by("node", node.oid) if w.oid not in mentioned)
    for oid in sorted(gone, key=lambda oid: oid.bytes):
        worker = ledger.rows(reports.WORKERS).find(oid)
        if worker is not None:
            reports._apply_gone(ledger, worker, known)


def _leave_unreachable(apply: Any) -> Any:
    def other(ledger: Ledger, worker: Any, said: Any, known: int) -> None:
        if worker.status is not WorkerStatus.UNREACHABLE:
            apply(ledger, worker, said, known)

    return other


def _same_epoch(_store: UUID, node: UUID) -> UUID:
    return uuid5(UUID(int=7), str(node))


def _epoch_of_store(store: UUID, _node: UUID) -> UUID:
    return store


def _two_at_a_time(wake: Any) -> Any:
    def other(self: Any, key: Any) -> None:
        state = self._keys.get(key)
        if state is not None and state.phase.name == "RUNNING" and not self._closed:
            self._enqueue(key, state)
        else:
            wake(self, key)

    return other


def _remember_undone(of: Any) -> Any:
    def other(self: Drafts, *args: Any) -> Any:
        found = of(self, *args)
        self._committed.keep(self._revisions)
        return found

    return other


def _only_at_once(wake: Any) -> Any:
    def other(self: Monitor, oid: Any, after: Any = None) -> None:
        if after is None:
            wake(self, oid)

    return other


def _keep_load(load: Any) -> Any:
    def other(self: Ledger, node_oid: Any, step: int) -> None:
        if step > 0:
            load(self, node_oid, step)

    return other


def _count_without_status(touch: Any) -> Any:
    calls = [0]

    def other(self: Ledger, oid: Any) -> None:
        calls[0] += 1
        if calls[0] % 7:
            touch(self, oid)

    return other


def _touch_only_new(replace: Any) -> Any:
    def other(self: Ledger, old: Any, new: Any) -> Any:
        before = dict(self._nodes)
        result = replace(self, old, new)
        if ledgers.assigned_to(result) is None:
            self._nodes = before
        return result

    return other


def _mark_without_unreachable(ledger: Ledger, node_oid: Any, now: int) -> None:
    """As `mark_offline`, but its workers are left as they were."""
    node = ledger.rows(NODES).find(node_oid)
    if node is not None and node.online:
        changed = reports.msgspec.structs.replace(node, online=False, since=now, changed=now)
        ledger.rows(NODES).put(changed, node)
        ledger.publish(reports.events.NODE_OFFLINE, reports.node_change(changed))


EPOCHS = ((reports, "assignment_epoch"), (uplink_module, "assignment_epoch"), (mirror, "assignment_epoch"))

DEFECTS = (
    Defect("monitor-dies", "one exception ends the monitor for good", around(Monitor, "_pass", _die_of_one_exception)),
    Defect("no-audit-at-start", "a master that starts looks at no cluster", replaced((Monitor, "start", _do_nothing))),
    Defect("timer-forgotten", "what is to be looked at later is forgotten", around(Monitor, "wake", _only_at_once)),
    Defect(
        "two-passes",
        "a key that is woken during its pass gets a second one at once",
        around(Loop, "wake", _two_at_a_time),
    ),
    Defect(
        "running-without-workers",
        "a cluster is RUNNING because it was started",
        replaced((ledgers, "cluster_status", _always_running)),
    ),
    Defect(
        "status-stale",
        "now and then a status is not derived anew",
        around(Ledger, "touch_cluster", _count_without_status),
    ),
    Defect("load-only-grows", "the load of a node never goes down", around(Ledger, "_load", _keep_load)),
    Defect(
        "version-kept-on-removal",
        "an assignment from which something was taken keeps its version",
        around(Ledger, "replace_worker", _touch_only_new),
    ),
    Defect(
        "undone-configuration",
        "a configuration that was not stored is remembered",
        around(Drafts, "of", _remember_undone),
    ),
    Defect(
        "old-session-accepted", "reports of any session are taken", replaced((Uplinks, "accept", _accept_old_sessions))
    ),
    Defect(
        "duplicate-applied",
        "a report that arrives late or twice is applied",
        around(Uplinks, "accept", _accept_duplicates),
    ),
    Defect("sent-once", "an assignment that was lost is not sent again", around(Uplinks, "_push", _send_once)),
    Defect(
        "no-settling",
        "nodes that do not attach after a restart stay online",
        replaced((Uplinks, "_settle", _do_nothing)),
    ),
    Defect("dead-session-attached", "a session that ended is attached", around(Uplinks, "attach", _attach_anyway)),
    Defect(
        "absence-and-return",
        "that a node was away is written after its return, and stays",
        around(Uplinks, "_note_presence", _note_only_absence),
    ),
    Defect(
        "absence-noted-once",
        "that a node went away is not stored later when it cannot be now",
        around(Uplinks, "_note_presence", _note_absence_once),
    ),
    Defect(
        "offline-unnoticed",
        "workers of a silent node are left as they were, and nobody plans anew",
        replaced((uplink_module, "mark_offline", _mark_without_unreachable)),
    ),
    Defect(
        "missing-ignored",
        "a full report does not say what is missing",
        around(reports, "apply_report", _ignore_missing),
    ),
    Defect(
        "any-node-believed",
        "a report counts for workers of other nodes",
        replaced((reports, "apply_report", _believe_everybody)),
    ),
    Defect(
        "unreachable-for-ever",
        "an unreachable worker does not come back",
        around(reports, "_apply_worker", _leave_unreachable),
    ),
    Defect(
        "epoch-ignored",
        "versions of a restored store count as those of the lost one",
        replaced(*((owner, name, _same_epoch) for owner, name in EPOCHS)),
    ),
    Defect(
        "pairing-ignored",
        "versions of a node count for the one that it was paired as before",
        replaced(*((owner, name, _epoch_of_store) for owner, name in EPOCHS)),
    ),
    Defect(
        "membership-left",
        "a deleted cluster leaves its memberships",
        replaced((cluster_service, "MEMBERSHIPS", cluster_service.REVISIONS)),
    ),
)
