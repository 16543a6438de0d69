"""Paths into workers: what leads where, and what is not admitted."""

import pytest

from controlplane.core.worker_paths import NONE, BadPath, WorkerPath

WORKER = {"status": "RUNNING", "reason": None, "addresses": [{"url": "a"}, {"url": "b"}], "details": {"cpu": {"s": 3}}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.status", "RUNNING"),
        ("status", "RUNNING"),
        ("$.reason", None),
        ("$.addresses[1].url", "b"),
        ("addresses[*].url", "a"),
        ("$.addresses[0:1]", {"url": "a"}),
        ("$..s", 3),
        ("$.details.cpu.s", 3),
        ("$.nothing", NONE),
        ("$.status[3]", NONE),
        ("$.addresses[7]", NONE),
        ("$.status.more.and.more", NONE),
    ],
)
def test_a_path_leads_to_the_first_thing_that_fits(path, value):
    found = WorkerPath(path).first(WORKER)
    assert found is value if value is NONE else found == value


@pytest.mark.filterwarnings("ignore:The `|`")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "  ",
        "$.",
        "[[[",
        "a b",
        "a|b",
        "a.`parent`",
        "$.a.$|$",
        "a where b",
        "a,b",
        "$..a..b..c",
        "(" * 100,
        "a" * 300,
        "\x00",
        "$.details.cpu.`len`",
    ],
)
def test_what_is_no_path_or_costs_too_much_is_refused(path):
    with pytest.raises(BadPath):
        WorkerPath(path)


def test_only_a_path_into_details_has_agents_asked():
    assert WorkerPath("$.details.cpu").of_details
    assert not WorkerPath("$.status").of_details
