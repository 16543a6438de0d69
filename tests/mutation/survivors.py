"""The list of mutants that are known to live, each with the reason why it may: written here, explained by hand."""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutants import Mutant
from tests.mutation.trial import ROOT

LIST = ROOT / "docs" / "mutation-survivors.toml"
UNEXPLAINED = "unexplained"
_HEAD = """\
# Mutants of controlplane/core that no test finds, each with the reason why it may live: see mutation.rst.
# scripts/mutate --write puts new ones here as "{}", and takes out what no longer lives; reasons are given by hand.
"""


class Survivor(NamedTuple):
    """A mutant, as it is known whatever its line."""

    module: str
    where: str
    minus: str
    plus: str


def survivor_of(module: str, mutant: Mutant) -> Survivor:
    """Return how a mutant is listed."""
    return Survivor(module, mutant.where, mutant.minus, mutant.plus)


def read_list(path: Path = LIST) -> dict[Survivor, str]:
    """Return the reasons of all that are listed."""
    if not path.exists():
        return {}
    listed = tomllib.loads(path.read_text()).get("survivor", [])
    return {Survivor(*(one[name] for name in Survivor._fields)): one["reason"] for one in listed}


def write_list(found: Iterable[Survivor], modules: Iterable[str], path: Path = LIST) -> None:
    """Put what was found in these modules in the place of what was listed of them; known ones keep their reasons."""
    known = read_list(path)
    kept = {one: reason for one, reason in known.items() if one.module not in set(modules)}
    kept |= {one: known.get(one, UNEXPLAINED) for one in found}
    parts = [_HEAD.format(UNEXPLAINED)]
    for one, reason in sorted(kept.items(), key=lambda item: (item[0].module, item[1], item[0])):
        fields = {**one._asdict(), "reason": reason}
        parts.append("[[survivor]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()))
    path.write_text("\n".join(parts))
