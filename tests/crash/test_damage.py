"""Bits and pages that change behind the store's back. `scripts/crash --damages N` does it as often as it is told to."""

from tests.crash.damage import GOOD, KINDS, outcomes

DAMAGES = 350


def test_a_damaged_store_is_refused_or_read_as_it_was(tmp_path):
    found = outcomes(tmp_path, DAMAGES, seed=1)
    assert {outcome for _, outcome in found} == GOOD, found
    assert {kind for kind, _ in found} == set(KINDS)
    # What cannot be missed is not: half of a file.
    assert found["cut", "store refused"] == DAMAGES // len(KINDS)
