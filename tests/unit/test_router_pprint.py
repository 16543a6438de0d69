"""The module that stands before `pprint` in workers."""

import json
import os
import pprint
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from controlplane.drivers.router import workerpath
from controlplane.drivers.router.workerpath.pprint import FORMS_MAX, remembering

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.binary(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=5)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text(max_size=5), max_size=5)
    ),
    max_leaves=20,
)
ONCE = remembering(pprint.pformat)

PROGRAM = """
import json, pprint, sys
value = {"transport": {"type": "rawsocket", "endpoint": {"type": "unix", "path": "/x" * 50}}, "auth": ["a"] * 30}
first = pprint.pformat(value)
again = pprint.pformat(dict(value))
value["auth"].append("b")
print(json.dumps({
    "file": pprint.__file__,
    "form": first,
    "same": again is first,
    "changed": pprint.pformat(value) != first,
    "others": [hasattr(pprint, name) for name in pprint.__all__],
}))
"""


@given(VALUES, st.sampled_from([{}, {"width": 20}, {"indent": 2, "compact": True}, {"depth": 1}]))
def test_a_form_is_always_the_one_that_the_real_module_gives(value, options):
    assert ONCE(value, **options) == pprint.pformat(value, **options)
    assert ONCE(value, **options) == pprint.pformat(value, **options)


def test_a_value_that_changed_has_another_form():
    value = {"a": [1]}
    assert ONCE(value) == "{'a': [1]}"
    value["a"].append(2)
    assert ONCE(value) == "{'a': [1, 2]}"


def test_values_that_contain_themselves_are_not_remembered():
    one: list = []
    one.append(one)
    other: list = []
    other.append(other)
    assert ONCE(one) == pprint.pformat(one)
    assert ONCE(other) == pprint.pformat(other)


def test_what_is_remembered_has_an_end():
    asked = []
    once = remembering(lambda value: asked.append(value) or str(value))
    for number in range(2 * FORMS_MAX):
        once(number)
        once(number)
    assert asked == list(range(2 * FORMS_MAX))


def run(path):
    environment = {**os.environ, "PYTHONPATH": path}
    return json.loads(
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, check=True).stdout
    )


def test_workers_get_the_real_module_which_remembers_what_it_formatted():
    here = str(Path(workerpath.__file__).parent)
    real, ours = run(""), run(here)
    assert here not in ours["file"]
    assert real["same"] is False
    assert all(ours["others"])
    assert ours == {**real, "same": True}
