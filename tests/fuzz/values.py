"""Bad values: every kind of thing that a serializer can carry, and what was right before somebody bent it."""

import copy
import datetime
import decimal
import fractions
import math
import uuid
from random import Random
from typing import Any

from cbor2 import CBORSimpleValue, CBORTag, undefined

TEXTS = (
    "",
    " ",
    "x",
    "\x00",
    "a\x00b",
    "\n",
    "é" * 10,
    "\u202eadmin",
    "\U0001f4a5" * 5,
    "\ufeffname",
    "\uffff",
    "../../etc/passwd",
    "${jndi:ldap://x}",
    "{problem}",
    "%s%n%d",
    "{0.__class__}",
    "'; DROP TABLE nodes; --",
    "<script>alert(1)</script>",
    "true",
    "null",
    "NaN",
    "-1",
    "1e999",
    "0" * 64,
    "g" * 64,
    "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
    "{3eccb1fd251b4edabee906b3d24b1c5e}",
    "urn:uuid:3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
    "admin",
    "oid",
    "__proto__",
    "__class__",
    "idempotency_key",
    "call",
    "self",
    "RUNNING",
    "web",
)
SURROGATES = ("\ud800", "a\udfffb", "\udc80" * 3)
NUMBERS = (
    -1,
    0,
    1,
    127,
    128,
    129,
    -(2**31),
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    2**64 - 1,
    2**64,
    -(2**64) - 1,
    10**40,
    2**4_000,
)
FLOATS = (0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf, 1.0000000000000002)
NO_JSON = (
    lambda r: b"",
    lambda r: r.randbytes(r.choice((1, 16, 33, 300))),
    lambda r: bytearray(b"x"),
    lambda r: uuid.UUID(int=r.getrandbits(128)),
    lambda r: datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    lambda r: datetime.date(2026, 1, 1),
    lambda r: decimal.Decimal("NaN"),
    lambda r: decimal.Decimal("1e1000"),
    lambda r: fractions.Fraction(1, 3),
    lambda r: CBORTag(r.choice((0, 28, 29, 258, 2**40)), "x"),
    lambda r: CBORSimpleValue(r.choice((0, 19, 99, 255))),
    lambda r: undefined,
    lambda r: {1, "a"},
    lambda r: frozenset({"x"}),
    lambda r: ("tuple", 1),
    lambda r: {1: 2, "1": 3},
    lambda r: {None: None},
    lambda r: {(1, 2): 3},
    lambda r: {b"name": "shop"},
    lambda r: 1 + 2j,
)
LENGTHS = (255, 256, 257, 1_000, 4_096, 4_097, 70_000)
TOGETHER_MAX = 2**22
"""Characters that are made of few by repeating them: no transport carries more than a few times that, and here, where
nothing is encoded first, it would be gigabytes."""

DEPTHS = (10, 31, 32, 33, 60, 63, 64, 65, 66, 100, 900, 5_000)


def scalar(random: Random, *, json_only: bool = False) -> Any:
    """Return something that holds nothing else."""
    kind = random.random()
    if kind < 0.32:
        return random.choice(TEXTS)
    if kind < 0.36:
        return random.choice(SURROGATES)
    if kind < 0.55:
        return random.choice(NUMBERS)
    if kind < 0.65:
        return random.choice(FLOATS)
    if kind < 0.75:
        return random.choice((None, True, False))
    if kind < 0.82:
        return random.choice(("a", "\u20ac", "0", "[")) * random.choice(LENGTHS)
    if kind < 0.88:
        return str(uuid.UUID(int=random.getrandbits(128), version=4))
    return scalar(random, json_only=True) if json_only else random.choice(NO_JSON)(random)


def value(random: Random, depth: int = 0, *, json_only: bool = False) -> Any:
    """Return anything."""
    kind = random.random()
    if depth > 3 or kind < 0.6:
        return scalar(random, json_only=json_only)
    if kind < 0.75:
        return [value(random, depth + 1, json_only=json_only) for _ in range(random.randrange(4))]
    if kind < 0.92:
        return {random.choice(TEXTS): value(random, depth + 1, json_only=json_only) for _ in range(random.randrange(4))}
    if kind < 0.94:
        return deep(random.choice(DEPTHS), random.choice((list, dict)), scalar(random, json_only=json_only))
    if kind < 0.985:
        inside = scalar(random, json_only=json_only)
        times = TOGETHER_MAX // (len(inside) if isinstance(inside, str | bytes) and inside else 1)
        return [inside] * min(times, random.choice((65, 1_001, 5_000)))
    return {f"k{number}": number for number in range(random.choice((65, 300, 3_000)))}


def deep(levels: int, kind: type, inside: Any) -> Any:
    """Return levels inside each other."""
    for _ in range(levels):
        inside = [inside] if kind is list else {"a": inside}
    return inside


def bent(random: Random, good: Any, *, json_only: bool = False) -> Any:
    """Return what was good with something wrong in it, somewhere."""
    if isinstance(good, dict) and good and random.random() < 0.85:
        changed = dict(good)
        name = random.choice(list(changed))
        kind = random.random()
        if kind < 0.15:
            del changed[name]
        elif kind < 0.3:
            changed[random.choice(TEXTS)] = value(random, 2, json_only=json_only)
        elif kind < 0.35:
            changed[str(name).upper()] = changed.pop(name)
        else:
            changed[name] = bent(random, changed[name], json_only=json_only)
        return changed
    if isinstance(good, list) and good and random.random() < 0.85:
        spot = random.randrange(len(good))
        if random.random() < 0.2:
            return [*good, *copy.copy(good)]
        return [*good[:spot], bent(random, good[spot], json_only=json_only), *good[spot + 1 :]]
    if isinstance(good, str) and good and random.random() < 0.4:
        spot = random.randrange(len(good))
        kind = random.random()
        if kind < 0.3:
            return good[:spot]
        if kind < 0.6:
            return good[:spot] + random.choice("\x00 -Zé\u202e") + good[spot + 1 :]
        longer = good * min(random.choice((2, 20, 300)), max(1, TOGETHER_MAX // len(good)))
        return longer if kind < 0.8 else good.upper()
    if isinstance(good, int) and random.random() < 0.3:
        return random.choice((good + 0.5 if abs(good) < 2**53 else 0.5, f"{good:x}", -good, good << 64, [good]))
    return value(random, 1, json_only=json_only)
