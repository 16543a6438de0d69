from controlplane.master.audience import Audience


def subscription(number, uri, match="exact"):
    return {"id": number, "uri": uri, "match": match, "created": "2026-11-20T22:08:12.271Z"}


def test_nobody_wants_anything_at_first():
    assert not Audience().wants("a.b")


def test_exact_prefix_and_wildcard_subscriptions_are_heard():
    audience = Audience()
    audience.created(subscription(1, "a.b"))
    audience.created(subscription(2, "c.", "prefix"))
    audience.created(subscription(3, "d..f", "wildcard"))
    for topic, wanted in (
        ("a.b", True),
        ("a.b.c", False),
        ("c.x.y", True),
        ("cx", False),
        ("d.e.f", True),
        ("d.e.g", False),
        ("d.f", False),
    ):
        assert audience.wants(topic) is wanted, topic


def test_what_was_asked_before_is_asked_anew_after_a_change():
    audience = Audience()
    assert not audience.wants("a.b")
    audience.created(subscription(1, "a.b"))
    assert audience.wants("a.b")
    audience.deleted(1)
    assert not audience.wants("a.b")
    audience.deleted(99)
    audience.created(subscription(2, "a.", "prefix"))
    assert audience.wants("a.b")
    audience.clear()
    assert not audience.wants("a.b")
