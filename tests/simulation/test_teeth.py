"""The simulation finds what is wrong: defects are planted one by one, and each is found."""

import itertools

import pytest

from tests.simulation.__main__ import cores, shared
from tests.simulation.defects import DEFECTS
from tests.simulation.run import run_seed

SEEDS_MAX = 200
KNOWN = (0, 1, 8, 3, 6, 4, 19, 23, 187, 39, 49, 58, 119, 439)
"""Seeds that find most of the defects; the others are tried after them."""


def first_problem(name: str) -> str | None:
    """Plant a defect, and return what the first seed says that notices."""
    defect = next(defect for defect in DEFECTS if defect.name == name)
    seeds = itertools.chain(KNOWN, (seed for seed in range(SEEDS_MAX) if seed not in KNOWN))
    with defect.plant():
        return next((problem for seed in seeds if (problem := run_seed(seed).problem) is not None), None)


@pytest.fixture(scope="module")
def problems():
    """What is found of every defect, worked out by as many processes as there are cores."""
    names = [defect.name for defect in DEFECTS]
    return dict(zip(names, shared(first_problem, names, cores()), strict=True))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_found(problems, defect):
    problem = problems[defect.name]
    assert problem is not None, f"{defect.text}: not found in {SEEDS_MAX} seeds"
    assert "argument" not in problem, f"the patch does not fit the product: {problem}"


def test_there_are_enough_of_them_and_none_stays_in_the_product():
    assert len(DEFECTS) >= 25
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    for seed in KNOWN:
        assert run_seed(seed).problem is None
