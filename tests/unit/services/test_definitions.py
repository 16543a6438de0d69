"""Profiles and policies: everything that is wrong with one is said at once."""

import pytest

from controlplane.errors import InvalidConfiguration


@pytest.mark.parametrize(
    ("noun", "properties", "path"),
    [("profile", {"command": 7, "bogus": 1}, "command"), ("policy", {"event": 7, "bogus": 1}, "event")],
)
@pytest.mark.parametrize("verb", ["create", "validate"])
def test_a_bad_name_and_a_bad_spec_are_said_in_one_answer(plane, noun, properties, path, verb):
    spec = {"type": "process" if noun == "profile" else "scaling", "properties": properties}
    given = {"name": "9 bad!", "spec": spec, "metadata": 7, "colour": 1}
    with pytest.raises(InvalidConfiguration) as refused:
        plane.call(f"{verb}_{noun}", given)
    found = [problem.path for problem in refused.value.problems]
    assert found[:3] == ["$.name", "$.metadata", "$.colour"]
    assert set(found[3:]) == {f"$.spec.properties.{path}", "$.spec.properties.bogus"}
    with pytest.raises(InvalidConfiguration) as refused:
        plane.call(f"{verb}_{noun}", {"name": "9 bad!", "spec": {"type": "nothing"}})
    assert [problem.path for problem in refused.value.problems] == ["$.name", "$.spec.type"]
    for spec in (7, None, {7: 8}):
        with pytest.raises(InvalidConfiguration) as refused:
            plane.call(f"{verb}_{noun}", {"name": "9 bad!", "spec": spec})
        assert {problem.path.partition("[")[0] for problem in refused.value.problems} == {"$.name", "$.spec"}
