"""A piece of the fuzzing that `scripts/fuzz` does at length."""

import pytest

from tests.fuzz.bench import Bench, Found
from tests.fuzz.pipeline import Run


@pytest.mark.parametrize("batch", range(4))
def test_hostile_calls_end_in_typed_errors_and_change_nothing(batch):
    run = Run(seed=20_261_120)
    run.batch(batch)
    assert run.inputs == 500
    assert run.outcomes["wamp.error.invalid_argument"] > 50
    assert run.outcomes["result"] > 10


def test_the_fuzzer_sees_an_error_that_changes_the_store(monkeypatch):
    from controlplane.errors import InvalidArgument
    from controlplane.services import pipeline

    right = pipeline.Pipeline._write_permitted

    def wrong(self, caller, declared, bound, change, answers):
        right(self, caller, declared, bound, change, answers)
        return InvalidArgument("it is made all the same", next_step="see")

    change_of = pipeline.Pipeline._change

    async def refuse(self, caller, declared, args, kwargs):
        outcome = await change_of(self, caller, declared, args, kwargs)
        if isinstance(outcome, InvalidArgument):
            raise outcome
        return outcome

    monkeypatch.setattr(Bench, "populate", populated(monkeypatch, pipeline, wrong, refuse))
    with pytest.raises(Found, match=r"changed the store(.|\n)*--batch 0"):
        Run(seed=1).batch(0)


def populated(monkeypatch, pipeline, wrong, refuse):
    populate = Bench.populate

    def then_break(bench):
        populate(bench)
        monkeypatch.setattr(pipeline.Pipeline, "_write_permitted", wrong)
        monkeypatch.setattr(pipeline.Pipeline, "_change", refuse)

    return then_break
