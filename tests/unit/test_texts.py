"""Texts with a pattern: what one line of them is, and that a line feed at the end is no part of any."""

import msgspec
import pytest

from controlplane.records import clusters, nodes, profiles, types
from controlplane.records.audit import ExportedLink

DIGITS = "0123456789abcdef" * 4
FACTS = {"version": "1", "machine": "m", "address": "10.0.0.1", "sockets": "/run", "drivers": [], "ports": [1, 2]}
LINK = {"seq": 1, "previous": DIGITS, "digest": DIGITS, "body": ""}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (types.Name, "shop"),
        (types.Authid, "edge-1"),
        (types.PublicKey, DIGITS),
        (clusters.Naming, "web-$I"),
        (profiles.VariableName, "HOME"),
        (profiles.PortName, "web"),
        (profiles.UrlPath, "/health"),
        (profiles.Scheme, "http"),
        (profiles.UserName, "www"),
    ],
)
def test_a_line_feed_at_the_end_makes_another_text_which_is_refused(kind, text):
    assert msgspec.convert(text, kind) == text
    for wrong in (f"{text}\n", f"\n{text}", f"{text}\n{text}"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, kind)


@pytest.mark.parametrize(
    ("kind", "good", "field"),
    [
        (nodes.NodeFacts, FACTS, "address"),
        (nodes.NodeFacts, FACTS, "sockets"),
        (ExportedLink, LINK, "previous"),
        (ExportedLink, LINK, "digest"),
    ],
)
def test_so_it_is_in_fields_with_a_pattern_of_their_own(kind, good, field):
    assert msgspec.convert(good, kind)
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**good, field: good[field] + "\n"}, kind)
