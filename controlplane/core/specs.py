"""Reading specs: what a definition says, in the words of its type."""

from collections.abc import Mapping
from typing import Any

import msgspec

from controlplane.core.profile_checks import read_properties
from controlplane.core.wordings import located
from controlplane.errors import Problem
from controlplane.records.definitions import Spec


def type_name(spec: Spec) -> str:
    """Return the name of a spec's type with its version, which is how types are looked up."""
    return f"{spec.type}-{spec.version}"


def spec_problems(given: Mapping[str, Any], types: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is wrong with the field `spec` of a definition, whose type is one of `types`."""
    spec = complete_spec(given, types)
    if isinstance(spec, Spec):
        return []
    return [problem._replace(path=problem.path.replace("$", "$.spec", 1)) for problem in spec]


def complete_spec(given: Mapping[str, Any], types: Mapping[str, Any]) -> Spec | list[Problem]:
    """Return a spec with the defaults of its type, which is one of `types`, or everything that is wrong with it."""
    problems = [Problem(f"$.{name}", "is no field of a spec") for name in given if name not in Spec.__struct_fields__]
    try:
        spec = msgspec.convert(dict(given), Spec)
    except msgspec.ValidationError as problem:
        return [*problems, located(problem, "$", Spec)]
    kind = types.get(type_name(spec))
    if kind is None:
        known = ", ".join(sorted(types))
        return [*problems, Problem("$.type", f"there is no type {type_name(spec)}; known are {known}")]
    read, wrong = read_properties(spec.properties, kind.properties, "$.properties")
    if read is None or problems:
        return [*problems, *wrong]
    return msgspec.structs.replace(spec, properties=msgspec.to_builtins(read))
