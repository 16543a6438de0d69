"""Numbers in sentences for people."""

from controlplane.core.counting import figure, so_many


def test_one_is_one_and_any_other_number_are_many():
    assert [so_many(number, "worker") for number in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]


def test_a_figure_can_be_read_whatever_its_size():
    assert [figure(value) for value in (0, 0.25, 14.01723, 999_999, 1_000_000, 71_131_136.5, -2_000_000)] == [
        "0", "0.25", "14.0172", "999999", "1,000,000", "71,131,136", "-2,000,000"
    ]  # fmt: skip
    assert figure(1e15) == "1e+15"
