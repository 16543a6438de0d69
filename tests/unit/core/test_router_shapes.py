"""The shapes that configurations are described with, one by one: what each accepts, and what it says of all else."""

import pytest

from controlplane.core.router_shapes import (
    Table,
    Variants,
    anything,
    at,
    each,
    entries,
    flag,
    matching,
    near,
    not_a,
    not_empty,
    one_of,
    shown,
    text,
    whole,
)
from controlplane.errors import Problem


def said(shape, value):
    return [(problem.path, problem.message) for problem in shape(value, "$")]


def refuse(message):
    return lambda _value, path: iter([Problem(path, message)])


# Words and paths in messages


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("plain", "'plain'"),
        ("", "''"),
        ("it's", '"it\'s"'),
        ('say "x"', "'say \"x\"'"),
        ("tab\t", '"tab\\t"'),
        ("é", "'é'"),
        ("x" * 64, f"'{'x' * 64}'"),
        ("x" * 65, f"'{'x' * 64}...'"),
        ("\n" * 65, '"' + "\\n" * 64 + '..."'),
    ],
)
def test_a_text_is_shown_short_and_printable(given, written):
    assert shown(given) == written


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (0, "$.a[0]"),
        (12, "$.a[12]"),
        ("b", "$.a.b"),
        ("_b-2", "$.a._b-2"),
        ("B", "$.a.B"),
        ("2b", '$.a["2b"]'),
        ("", '$.a[""]'),
        ("b c", '$.a["b c"]'),
        ('"', '$.a["\\""]'),
        ("b.c", '$.a["b.c"]'),
        ("x" * 64, "$.a." + "x" * 64),
        ("x" * 65, '$.a["' + "x" * 64 + '..."]'),
        (" " * 64, '$.a["' + " " * 64 + '"]'),
        (" " * 65, '$.a["' + " " * 64 + '..."]'),
    ],
)
def test_a_path_goes_on_with_a_key_or_an_index(key, path):
    assert at("$.a", key) == path


def test_the_nearest_known_word_is_suggested():
    assert near("transpot", ["realms", "transport"]) == "; did you mean 'transport'?"
    assert near("xyz", ["realms", "transport"]) == ""
    assert near("realms", []) == ""


def test_the_search_for_a_near_word_is_bounded():
    assert near("target", [*("x" * 9 for _ in range(63)), "target"]) == "; did you mean 'target'?"
    assert near("target", [*("x" * 9 for _ in range(64)), "target"]) == ""
    assert near("a" * 64 + "b" * 1000, ["a" * 64]) == f"; did you mean '{'a' * 64}'?"


class Odd:
    pass


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ({}, "an object"),
        ([], "a list"),
        ("", "a text"),
        (0, "a number"),
        (0.0, "a number"),
        (b"", "a value of type bytes"),
        (Odd(), "a value of type Odd"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_by_its_type(value, kind):
    assert not_a("a fish", value, "$.a") == Problem("$.a", f"must be a fish, not {kind}")


# Plain values


@pytest.mark.parametrize("value", [None, 0, "", [], {}, Odd()])
def test_anything_is_accepted_where_nothing_is_said(value):
    assert said(anything, value) == []


def test_a_flag_is_true_or_false():
    assert said(flag, True) == said(flag, False) == []
    assert said(flag, 1) == [("$", "must be true or false, not a number")]
    assert said(flag, None) == [("$", "must be true or false, not null")]


def test_a_text_breaks_no_rule_and_only_the_first_broken_one_is_told():
    short = lambda value: None if len(value) < 3 else "is long"  # noqa: E731
    shape = text(not_empty, short, lambda value: "is x" if "x" in value else None)
    assert said(shape, "ab") == []
    assert said(shape, "") == [("$", "must not be empty")]
    assert said(shape, "xxx") == [("$", "is long")]
    assert said(shape, "x") == [("$", "is x")]
    assert said(shape, 5) == [("$", "must be a text, not a number")]
    assert said(text(), "") == []


def test_a_pattern_matches_the_whole_of_a_text():
    rule = matching("[ab]+", "of a and b")
    assert rule("abba") is None
    for wrong in ("abc", "cab", "", "ab\n"):
        assert rule(wrong) == f"must be of a and b, not {shown(wrong)}"


def test_a_secret_that_does_not_match_is_not_repeated():
    assert matching("[ab]+", "of a and b", secret=True)("sesame") == "must be of a and b"


def test_one_of_several_words():
    shape = one_of("red", "green", "blue")
    assert said(shape, "green") == []
    assert said(shape, "gren") == [
        ("$", "must be 'red', 'green' or 'blue', not 'gren'; did you mean 'green'?"),
    ]
    assert said(shape, "xyz") == [("$", "must be 'red', 'green' or 'blue', not 'xyz'")]
    assert said(one_of("red"), "xyz") == [("$", "must be 'red', not 'xyz'")]
    assert said(one_of("red", "blue"), "xyz") == [("$", "must be 'red' or 'blue', not 'xyz'")]
    assert said(shape, None) == [("$", "must be a text, not null")]


def test_a_whole_number_within_its_bounds():
    shape = whole(2, 5)
    assert [value for value in range(-6, 9) if not said(shape, value)] == [2, 3, 4, 5]
    assert said(shape, 1) == [("$", "must be from 2 to 5, not 1")]
    assert said(shape, 0) == [("$", "must be from 2 to 5, not 0")]
    for no_number in (True, False, 3.0, "3", None):
        assert said(shape, no_number) == [not_a("a whole number", no_number, "$")]


def test_a_whole_number_or_zero():
    shape = whole(2, 5, or_zero=True)
    assert [value for value in range(-6, 9) if not said(shape, value)] == [0, 2, 3, 4, 5]
    assert said(shape, 1) == [("$", "must be 0 or from 2 to 5, not 1")]


def test_a_huge_number_is_not_repeated():
    assert said(whole(2, 5), 2**64) == [("$", f"must be from 2 to 5, not {2**64}")]
    assert said(whole(2, 5), -(2**64)) == [("$", f"must be from 2 to 5, not {-(2**64)}")]
    assert said(whole(2, 5), 2**64 + 1) == [("$", "must be from 2 to 5")]
    assert said(whole(2, 5), -(10**5000)) == [("$", "must be from 2 to 5")]


# Lists and objects


def test_every_item_of_a_list_has_the_shape():
    assert said(each(flag), [True, 5, False, None]) == [
        ("$[1]", "must be true or false, not a number"),
        ("$[3]", "must be true or false, not null"),
    ]
    assert said(each(flag), []) == []
    for no_list in ({}, (), "x", None):
        assert said(each(flag), no_list) == [not_a("a list", no_list, "$")]


def test_every_entry_of_an_object_has_the_shape_and_a_name():
    assert said(entries(flag), {"a": True, "b": 5, "": 6}) == [
        ("$.b", "must be true or false, not a number"),
        ('$[""]', "the name must not be empty"),
        ('$[""]', "must be true or false, not a number"),
    ]
    named = entries(flag, named=matching("[a-z]", "a letter"))
    assert said(named, {"a": True, "B": True, "c": 5}) == [
        ("$.B", "the name must be a letter, not 'B'"),
        ("$.c", "must be true or false, not a number"),
    ]
    for no_object in ([], "x", None):
        assert said(entries(flag), no_object) == [not_a("an object", no_object, "$")]


def test_a_key_that_is_no_text_is_passed_over_and_what_follows_is_not():
    assert said(entries(flag), {5: 5, "a": 5}) == [("$.a", "must be true or false, not a number")]
    assert said(Table(), {5: 5, None: 5}) == []


@pytest.mark.parametrize(
    ("shape", "of"), [(each, lambda count: [True] * count), (entries, lambda count: dict.fromkeys("abcdefgh"[:count]))]
)
def test_numbers_of_entries_have_bounds(shape, of):
    bounded = shape(anything, lowest=2, highest=3)
    assert [count for count in range(6) if not said(bounded, of(count))] == [2, 3]
    assert said(bounded, of(1)) == [("$", "must have at least 2 entries")]
    assert said(bounded, of(4)) == [("$", "has 4 entries; at most 3 are allowed")]
    assert said(shape(anything, lowest=1), of(0)) == [("$", "must not be empty")]
    assert said(shape(anything, lowest=1), of(8)) == said(shape(anything), of(0)) == said(shape(anything), of(8)) == []


TABLE = Table(
    required={"name": text(not_empty)},
    optional={"size": whole(1, 9)},
    refused={"colour": "is for others"},
    also=lambda value, path: iter([Problem(path, "is bad")] if value.get("size") == 6 else []),
)


def test_a_table_has_what_is_required_and_may_have_what_is_optional():
    assert said(TABLE, {"name": "x"}) == said(TABLE, {"name": "x", "size": 5}) == []
    assert said(TABLE, {}) == [("$.name", "is missing")]
    assert said(TABLE, {"name": "", "size": 10}) == [
        ("$.name", "must not be empty"),
        ("$.size", "must be from 1 to 9, not 10"),
    ]
    assert said(TABLE, {"name": "x", "size": 6}) == [("$", "is bad")]
    assert said(TABLE, []) == [("$", "must be an object, not a list")]
    assert said(Table(), {}) == []


def test_a_table_says_why_it_refuses_a_key():
    assert said(TABLE, {"name": "x", "colour": 5}) == [("$.colour", "is for others")]


def test_a_table_suggests_a_near_key_or_tells_all():
    assert said(TABLE, {"name": "x", "sise": 5}) == [("$.sise", "is an unknown key; did you mean 'size'?")]
    assert said(TABLE, {"name": "x", "other": 5}) == [("$.other", "is an unknown key; known here: name, size")]


def test_a_table_with_many_keys_does_not_tell_them_all():
    def of(count):
        return Table(optional={f"key{number}": anything for number in range(count)})

    assert said(of(20), {"zzz": 1})[0][1].startswith("is an unknown key; known here: key0, key1, ")
    assert said(of(21), {"zzz": 1}) == [("$.zzz", "is an unknown key")]


def test_only_the_first_unknown_keys_get_suggestions():
    found = said(TABLE, {"name": "x", **{f"size{number}": 1 for number in range(12)}})
    assert [message for _, message in found] == ["is an unknown key; did you mean 'size'?"] * 10 + [
        "is an unknown key; known here: name, size"
    ] * 2


VARIANTS = Variants({"one": refuse("is one"), "two": anything}, refused={"three": "is one too many"})


def test_the_shape_of_a_variant_depends_on_its_type():
    assert said(VARIANTS, {"type": "two"}) == []
    assert said(VARIANTS, {"type": "one"}) == [("$", "is one")]
    assert said(VARIANTS, {"type": "three"}) == [("$.type", "is one too many")]
    assert said(VARIANTS, {"type": "on"}) == [("$.type", "must be 'one' or 'two', not 'on'; did you mean 'one'?")]
    assert said(VARIANTS, {"type": ["one"]}) == [("$.type", "must be a text, not a list")]
    assert said(VARIANTS, {}) == [("$.type", "is missing; it must be 'one' or 'two'")]
    assert said(VARIANTS, "one") == [("$", "must be an object, not a text")]


def test_a_variant_may_be_told_by_another_key():
    shape = Variants({"one": anything, "two": anything}, key="kind")
    assert said(shape, {"kind": "one"}) == []
    assert said(shape, {"type": "one"}) == [("$.kind", "is missing; it must be 'one' or 'two'")]
    assert said(shape, {"kind": "x"}) == [("$.kind", "must be 'one' or 'two', not 'x'")]
