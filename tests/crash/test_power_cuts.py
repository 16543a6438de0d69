"""Power cuts at any moment of a run. `scripts/crash --power-cuts N` does the same as often as it is told to."""

import shutil

import pytest

from controlplane.errors import StoreRefused
from tests.crash.power import Note, check, commits_of, images, record

CALLS = 60
IMAGES = 300

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def test_whatever_the_disk_holds_after_a_power_cut_is_a_state_with_everything_that_was_told(tmp_path):
    steps = record(tmp_path, CALLS, seed=1)
    commits = commits_of(steps)
    # Nobody is told of a change before its commit is durable.
    assert sum(step == Note("answer") for step in steps) >= CALLS / 2
    for image in images(steps, IMAGES, seed=1):
        check(image, commits, tmp_path / "image")


def test_the_images_show_a_store_that_does_not_sync(tmp_path):
    """The same, with a store that is told not to sync: most images are refused, or lack what was told."""
    steps = record(tmp_path, CALLS, seed=1, sync=False)
    commits = commits_of(steps)
    bad = 0
    for image in images(steps, 40, seed=1):
        try:
            check(image, commits, tmp_path / "image")
        except (AssertionError, StoreRefused):
            bad += 1
    assert bad > 20
