"""Arguments as they are typed on the command line."""

import pytest

from controlplane.cli.arguments import read_arguments
from controlplane.cli.client import resolve
from controlplane.errors import InvalidArgument

GET = "controlplane.cluster.get_cluster"
SCALE = "controlplane.cluster.scale_out_cluster"
RESIZE = "controlplane.cluster.resize_cluster"
LIST = "controlplane.worker.list_workers"
CREATE = "controlplane.cluster.create_cluster"


@pytest.mark.parametrize("text", ["shop", "4574", "12e4", "0012", "true", "null", "-1.5", "NaN"])
def test_what_names_something_is_text_whatever_it_looks_like(text):
    assert read_arguments(GET, [text], []) == ([text], {})
    assert read_arguments(GET, [], [("cluster", text)]) == ([], {"cluster": text})


def test_what_is_text_in_quotes_is_that_text():
    assert read_arguments(GET, ['"4574"'], []) == (["4574"], {})


def test_what_may_be_left_out_may_be_null():
    assert read_arguments(LIST, ["4574"], []) == (["4574"], {})
    assert read_arguments(LIST, ["null"], [("limit", "5"), ("sort", "12")]) == ([None], {"limit": 5, "sort": "12"})


def test_numbers_and_what_holds_others_are_json():
    assert read_arguments(SCALE, ["4574", "2"], []) == (["4574", 2], {})
    assert read_arguments(RESIZE, ["shop", "EXACT_CAPACITY", "2.5"], [("strict", "false")]) == (
        ["shop", "EXACT_CAPACITY", 2.5],
        {"strict": False},
    )
    assert read_arguments(CREATE, ['{"name": "shop"}'], []) == ([{"name": "shop"}], {})


def test_of_what_nobody_declares_json_is_json_and_all_else_is_text():
    assert read_arguments("com.example.other", ["1", "one"], [("a", "null")]) == ([1, "one"], {"a": None})
    assert read_arguments(GET, ["shop", "1"], [("more", "2")]) == (["shop", 1], {"more": 2})


@pytest.mark.parametrize("text", ['{"name": "shop"', "[1, 2", "{name: shop}"])
def test_what_begins_like_json_and_is_none_is_said_to_be_so(text):
    with pytest.raises(InvalidArgument, match="definition begins like JSON and is none: ") as refused:
        read_arguments(CREATE, [text], [])
    assert refused.value.problems[0].path == "$.definition"
    assert text.replace('"', '\\"') in refused.value.next_step
    with pytest.raises(InvalidArgument, match="filters begins like JSON"):
        read_arguments(LIST, [], [("filters", text)])


def test_a_procedure_that_there_is_not_is_answered_with_those_that_may_be_meant():
    with pytest.raises(InvalidArgument, match="there is no procedure list_worker; did you mean list_workers"):
        resolve("list_worker")
    with pytest.raises(InvalidArgument, match=r"there is no procedure qqq \("):
        resolve("qqq")
    assert resolve("get_cluster") == GET
