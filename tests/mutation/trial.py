"""Tries one mutant: a child of this process imports it in place of the module, and runs its tests until one fails.

A fork is cheap because everything heavy is imported before it, and clean because nothing of `controlplane.core` is.
What a trial may use of the processor and of memory is limited by the system, so that a busy machine convicts nobody.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import hypothesis
import hypothesis.strategies
import msgspec  # noqa: F401
import pytest

import controlplane.records  # noqa: F401

ROOT = Path(__file__).parents[2]
MEMORY_BYTES_MAX = 2 * 1024**3
ID_BYTES_MAX = 4_096
"""Packages of which no module may be there before the fork."""

FRESH = ("controlplane.core", "tests.unit", "tests.strategies")

hypothesis.settings.register_profile(
    "mutation",
    deadline=None,
    max_examples=20,
    derandomize=True,  # So that the same mutants survive every time.
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # Nobody reads the smallest example.
)


class Outcome(NamedTuple):
    """What became of a mutant."""

    killed: bool
    by: str
    """The test that failed, or another way in which the tests came to an end."""

    cpu_s: float


class Trial:
    """One child at work."""

    def __init__(self, module: str, source: str | None, tests: Sequence[str], first: Sequence[str], cpu_s: int) -> None:
        """Start a trial: `source` is the mutant, or None for the module as it is; `first` names tests to begin with."""
        self._read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_child(module, source, tests, first, cpu_s, write))
        os.close(write)

    def end(self, status: int, cpu_s: float) -> Outcome:
        """Return the outcome of a child that ended with this status."""
        with os.fdopen(self._read, "rb") as pipe:
            failed = pipe.read(ID_BYTES_MAX).decode()
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return Outcome(True, "time" if name == "SIGXCPU" else name, cpu_s)
        match os.WEXITSTATUS(status):
            case 0:
                return Outcome(False, "", cpu_s)
            case 1:
                return Outcome(True, failed or "a test", cpu_s)
            case 2 | 3 | 4:
                return Outcome(True, "import", cpu_s)
            case other:
                return Outcome(True, f"exit status {other}", cpu_s)


def _child(module: str, source: str | None, tests: Sequence[str], first: Sequence[str], cpu_s: int, write: int) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    early = [name for name in sys.modules if name.startswith(FRESH)]
    if early:
        return 70
    hypothesis.settings.load_profile("mutation")
    if source is not None:
        sys.meta_path.insert(0, _Changed(module, source))
    for file in tests:  # One after the other: to collect what is not needed takes longer than to run what is.
        status = int(pytest.main([*OPTIONS, file], plugins=[_Order(first, write)]))
        if status != 0:
            return status
    return 0


OPTIONS = (
    "-x",
    "-q",
    "--noconftest",  # It makes planes, which core knows nothing of.
    "-pno:cacheprovider",
    "-pno:faulthandler",
    "-pno:unraisableexception",  # It collects garbage at the end of every trial, which takes half of its time.
    "--disable-plugin-autoload",
    "-c",
    str(ROOT / "setup.cfg"),
)


class _Order:
    """Has the tests run first that found the mutants before, then plain ones, then those with many examples each."""

    def __init__(self, first: Sequence[str], write: int) -> None:
        self._first = {name: rank for rank, name in enumerate(first)}
        self._write = write

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(
            key=lambda item: (
                self._first.get(item.nodeid, len(self._first)),
                hypothesis.is_hypothesis_test(getattr(item, "obj", None)),
            )
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self._write, report.nodeid.encode()[:ID_BYTES_MAX])


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a module a source of our own."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self._module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, f"mutant of {self._module}", "exec"), module.__dict__)
