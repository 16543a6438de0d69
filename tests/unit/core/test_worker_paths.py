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


def test_a_field_that_is_none_is_not_nothing():
    assert WorkerPath("$.reason").first(WORKER) is not NONE
    assert WorkerPath("$.nothing").first(WORKER) is not None


ONLY = "may have fields, [n], [a:b], * and .. only, and n"


@pytest.mark.filterwarnings("ignore:The `|`")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("$.", "is no JSONPath: Parse error near the end of string!"),
        ("[[[", "is no JSONPath: Parse error at 1:1 near token [ ([)"),
        ("a b", "is no JSONPath: Parse error at 1:2 near token b (ID)"),
        ("\x00", "is no JSONPath: Error on line 1, col 0: Unexpected character: \x00 "),
        ("a|b", ONLY + "one of & ( ) ? ` |"),
        ("a.`parent`", ONLY + "one of & ( ) ? ` |"),
        ("$.a.$|$", ONLY + "one of & ( ) ? ` |"),
        ("$.details.cpu.`len`", ONLY + "one of & ( ) ? ` |"),
        ("(" * 100, ONLY + "one of & ( ) ? ` |"),
        ("a where b", ONLY + "o where"),
        ("a wherenot b", ONLY + "o wherenot"),
        ("a,b", ONLY + "o union"),
        ("$.a.b,c", ONLY + "o union"),
        ("$.a,b.c.d", ONLY + "o union"),
        ("$.a[1,2].b", ONLY + "o union"),
        ("$..a..b..c", "has .. more than 2 times"),
        ("$..*..*.a..*", "has .. more than 2 times"),
        ("a" * 257, "has 257 characters; 256 are admitted"),
    ],
)
def test_what_is_no_path_or_costs_too_much_is_refused(path, said):
    with pytest.raises(BadPath) as refused:
        WorkerPath(path)
    assert str(refused.value) == said


def test_a_path_may_be_long_and_go_to_anything_below_twice():
    assert WorkerPath("a" * 256).first({"a" * 256: 1}) == 1
    assert WorkerPath("$..cpu..s").first(WORKER) == 3
    assert WorkerPath("$.addresses[*].*").first(WORKER) == "a"


@pytest.mark.parametrize("path", ["$.details.cpu", "details", "$.cpu.details", "$..details.a.b", "a.details.b"])
def test_only_a_path_into_details_has_agents_asked(path):
    assert WorkerPath(path).of_details is True
    assert WorkerPath(path.replace("details", "detail")).of_details is False
