"""Texts with placeholders: what is filled in, what is left, and how a text is kept from being filled in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.placeholders import PLACEHOLDER, escape, fill

VALUES = {"name": "web-3", "port:http": "8080", "port:": "?", "not_a_port": "x", "port:a_1": "1"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{name}:{port:http}", "web-3:8080"),
        ("{not_a_port}{port:a_1}{port:}", "x1?"),
        ("{{name}} {{port:http}} {{port:}}", "{name} {port:http} {port:}"),
        ("{other} {port:other} {}", "{other} {port:other} {}"),
        ("{{other}}", "{other}"),  # What stands for itself does, whatever has a value.
        (
            "{Name} { name } {na me} {name1} {name:x} {port:HTTP} {name",
            "{Name} { name } {na me} {name1} {name:x} {port:HTTP} {name",
        ),
        ('{"name": {"a": {name}}}', '{"name": {"a": web-3}}'),
        ("${name} {{{name}}}", "$web-3 {{name}}"),
        ("", ""),
    ],
)
def test_placeholders_with_a_value_are_filled_in_and_double_braces_become_single_ones(text, filled):
    assert fill(text, VALUES) == filled


def test_what_is_filled_in_is_not_looked_at_again():
    assert fill("{name}{name}", {"name": "{index}", "index": "7"}) == "{index}{index}"
    assert fill("{name}", {"name": r"\1 \g<0>"}) == r"\1 \g<0>"


def test_what_could_be_a_placeholder_is_found_with_what_it_is_called():
    assert PLACEHOLDER.findall("{a} {{b_c}} {port:d1} {{port:}}") == [
        ("", "a"),
        ("b_c", ""),
        ("", "port:d1"),
        ("port:", ""),
    ]


PIECES = st.lists(
    st.sampled_from(["{", "}", "{{", "}}", "name", "port:", "http", "_", "1", "A", " ", "$", "\\1", "{name}", "é"]),
    max_size=12,
).map("".join)


@given(PIECES | st.text(max_size=12))
def test_an_escaped_text_is_itself_when_it_is_filled_in(text):
    assert fill(escape(text), {**VALUES, "http": "!"}) == text


def test_only_what_could_be_filled_in_is_escaped():
    assert (
        escape("{name} {port:http} {Name} {} { x } {port:} $") == "{{name}} {{port:http}} {Name} {} { x } {{port:}} $"
    )


@given(PIECES)
def test_what_has_no_placeholder_needs_no_escape(text):
    assert (escape(text) == text) is (PLACEHOLDER.search(text) is None)
