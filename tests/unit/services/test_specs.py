import msgspec
import pytest

from controlplane.records.clusters import Cluster, ClusterRevision, ClusterType
from controlplane.services.specs import DIGESTS_MAX, GenericRevision
from tests.strategies import CLUSTER, NOW, uid, worker

SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "1"]}}


@pytest.fixture
def revision():
    cluster = Cluster(oid=CLUSTER, name="farm", type=ClusterType.GENERIC, created=NOW, changed=NOW)
    return GenericRevision(cluster, ClusterRevision(cluster_oid=CLUSTER, revision=1, config=SPEC, homes={}))


def test_a_digest_that_is_remembered_is_that_of_the_configuration_that_is_told(revision):
    known = [worker(number, uid(5, 1), number) for number in range(DIGESTS_MAX + 2)]
    for _ in range(2):
        for each in known:
            assert revision.digest(each, {}) == revision.compose(each, {})[0]
    assert len(revision._digests) <= DIGESTS_MAX


@pytest.mark.parametrize("field", ["index", "generation", "rebuilds", "kills"])
def test_whatever_a_configuration_says_of_a_worker_makes_another_digest(revision, field):
    each = worker(1, uid(5, 1), 0)
    other = msgspec.structs.replace(each, **{field: 3})
    assert revision.digest(each, {}) != revision.digest(other, {})


def test_what_a_worker_has_kept_is_looked_at_every_time(revision):
    each = worker(1, uid(5, 1), 0)
    first = revision.digest(each, {})
    adopted = msgspec.structs.replace(each, adopts={"kind": "process", "pid": 7})
    assert first != revision.digest(adopted, {}) == revision.compose(adopted, {})[0]
