"""A disk that is full, and a disk that fails: clear errors for writers, answers for readers, and a way on."""

import resource
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from controlplane.errors import NoAnswer, StoreFailed, StoreFull
from controlplane.store.backups import back_up, verify
from controlplane.store.database import Store
from controlplane.store.lmdb import DATA_FILE, LmdbEngine
from controlplane.store.verification import find_problems
from tests.conftest import TestPlane
from tests.consistency import check_derived
from tests.crash.disks import fill, make_room, small_disk
from tests.crash.failing_disk import CHANGES, names_in
from tests.crash.points import under_strace
from tests.e2e.installation import Installation

MEBIBYTE = 1024 * 1024
strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def whole(plane: TestPlane) -> None:
    with plane.engine.read() as transaction:
        assert list(find_problems(transaction)) == []
    with plane.plane.store.read() as view:
        check_derived(view)


@pytest.mark.parametrize("leave", [0, 4096, 16384])
def test_a_full_disk_refuses_changes_answers_questions_and_goes_on_when_there_is_room(tmp_path, leave):
    with small_disk(tmp_path / "disk", 3 * MEBIBYTE) as disk:
        plane = TestPlane(disk / "store")
        for number in range(10):
            plane.call("create_routercluster", {"name": f"before{number}"})
        fill(disk, leave)
        made, refused = 10, []
        # A smaller change may still find room after a larger one did not.
        for number in range(100):
            try:
                plane.call("create_routercluster", {"name": f"during{number}", "description": "x" * 4000})
                made += 1
            except StoreFull as problem:
                refused.append(problem)
        assert len(refused) > 3
        for problem in refused:
            assert "no room" in problem.message
            assert problem.uri == "controlplane.error.store_full"
            assert "free disk space" in problem.next_step
        assert len(plane.call("list_routerclusters")) == made
        whole(plane)
        make_room(disk)
        plane.call("create_routercluster", {"name": "after"})
        assert len(plane.call("list_routerclusters")) == made + 1
        whole(plane)
        plane.close()


def test_a_store_on_a_full_disk_is_opened_and_read(tmp_path):
    with small_disk(tmp_path / "disk", 3 * MEBIBYTE) as disk:
        plane = TestPlane(disk / "store")
        plane.call("create_routercluster", {"name": "before"})
        plane.close()
        fill(disk)
        engine = LmdbEngine(disk / "store")
        store = Store(engine, Clock(), lambda: None)
        assert names_in(store) == ["admin"]
        store.close()


@pytest.mark.parametrize("there", ["no store", "no lock"])
def test_a_start_on_a_full_disk_says_so(tmp_path, there):
    """LMDB writes to its lock file through a map: without care this ends in SIGBUS."""
    with small_disk(tmp_path / "disk", 3 * MEBIBYTE) as disk:
        if there == "no lock":
            LmdbEngine(disk / "store").close()
            (disk / "store" / "lock.mdb").unlink()
        (disk / "state").mkdir()
        fill(disk)
        program = [sys.executable, "-m", "tests.crash.failing_disk", str(disk / "store")]
        ended = subprocess.run(program, capture_output=True, text=True)
        assert ended.returncode == 1, ended.stderr
        assert "StoreFull" in ended.stderr


def test_a_backup_to_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    TestPlane(tmp_path / "store").close()
    with small_disk(tmp_path / "disk", MEBIBYTE) as disk:
        fill(disk)
        with pytest.raises(StoreFull):
            back_up(tmp_path / "store", disk / "backup")
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def run_with_failures(directory: Path, calls: str, which: str) -> list[list[str]]:
    """Run the writer; `which` of these calls on its store fail with EIO. Returns what it printed, in words."""
    Store(LmdbEngine(directory), Clock(), lambda: UUID(int=1)).close()
    program = [sys.executable, "-m", "tests.crash.failing_disk", str(directory)]
    trace = ["-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when={which}"]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(directory / DATA_FILE), *trace, *program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in ended.stdout.splitlines()[1:]]


@strace
@pytest.mark.parametrize("number", [1, 5])
def test_a_sync_that_fails_fails_one_change_and_the_next_one_is_made(tmp_path, number):
    said = run_with_failures(tmp_path / "store", "fdatasync", str(number))
    failed = [words for words in said if words[0] == "failed"]
    assert [words[2] for words in failed] == [StoreFailed.uri]
    assert said[-1] == ["names", str(CHANGES - 1)]


def writes_of_the_head(directory: Path) -> set[int]:
    """Which writes of the writer, counted from 1, make a commit the current one: those to the first two pages."""
    Store(LmdbEngine(directory), Clock(), lambda: UUID(int=1)).close()
    program = [sys.executable, "-m", "tests.crash.failing_disk", str(directory)]
    log = directory.with_suffix(".strace")
    trace = ["-f", "-qq", "-o", str(log), "-P", str(directory / DATA_FILE), "-e", "trace=pwrite64"]
    subprocess.run(["strace", *trace, *program], capture_output=True, check=True)
    writes = [line for line in log.read_text().splitlines() if "pwrite64(" in line and "resumed" not in line]
    offsets = [int(line.rpartition(") =")[0].rpartition(", ")[2]) for line in writes]
    return {number for number, offset in enumerate(offsets, 1) if offset < 2 * resource.getpagesize()}


@strace
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_write_that_fails_loses_nothing_that_was_told(tmp_path, number):
    heads = writes_of_the_head(tmp_path / "like")
    said = run_with_failures(tmp_path / "store", "pwrite64", str(number))
    done = [f"p{words[1]}" for words in said if words[0] == "done"]
    assert [words[2] for words in said if words[0] == "failed"] == [StoreFailed.uri]
    # Without its head a commit is not the current one: with that LMDB gives up, and says so.
    assert (said[-1][0] == "broken") is (number in heads)
    store = Store(LmdbEngine(tmp_path / "store"), Clock(), lambda: None)
    assert set(done) <= set(names_in(store)) <= {*done, *(f"p{words[1]}" for words in said)}
    store.close()
    assert verify(tmp_path / "store") >= len(done)


@pytest_twisted.ensureDeferred
async def test_the_master_says_what_is_wrong_over_wamp_and_goes_on(tmp_path):
    installation = Installation(tmp_path, nodes=0)
    master = installation.children.state.master
    with small_disk(master, 4 * MEBIBYTE):
        try:
            await installation.start()
            for number in range(5):
                await installation.call("create_routercluster", {"name": f"before{number}"})
            fill(master)
            made = 5
            with pytest.raises(StoreFull) as caught:
                for number in range(100):
                    await installation.call("create_routercluster", {"name": f"c{number}0", "description": "x" * 4000})
                    made += 1
            assert caught.value.next_step
            assert len(await installation.call("list_routerclusters")) == made
            make_room(master)
            await installation.call("create_routercluster", {"name": "after"})
            if shutil.which("strace") is not None:
                await master_whose_disk_fails(installation)
        finally:
            installation.stop()


async def master_whose_disk_fails(installation: Installation) -> None:
    """When the disk refuses the page that makes a commit the current one, LMDB gives up, and so does the master."""
    installation.kill("master")
    state = installation.children.state
    command = [sys.executable, "-m", "controlplane", "master", "--state-dir", str(state.root)]
    traced = under_strace("meta.before", 0, state.store / DATA_FILE, command)
    # Every seventh write: pages that are refused fail one change each, until it is the turn of the last page.
    traced = [part.replace(":signal=SIGKILL:when=0", ":error=EIO:when=5+7") for part in traced]
    log = state.root / "failing.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(traced, stdout=output, stderr=output)
    numbers = count()

    async def ended():
        try:
            await installation.call("create_routercluster", {"name": f"lost{next(numbers)}"})
        except (NoAnswer, StoreFailed):
            pass
        return process.poll() is not None

    try:
        await installation.until(ended)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert "after the disk failed" in log.read_text()
    assert "Traceback" not in log.read_text()
    installation.respawn("master")

    async def back():
        try:
            return await installation.call("list_routerclusters", return_names=True)
        except NoAnswer:
            return None

    assert "after" in await installation.until(back)
