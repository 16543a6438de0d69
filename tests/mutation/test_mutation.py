"""The mutation tester itself: it makes mutants, tells those that are found from the others, and keeps its list."""

import re
import subprocess
import sys
from collections import Counter

from tests.mutation.killers import CORE, MODULES
from tests.mutation.mutants import mutants_of
from tests.mutation.survivors import LIST, UNEXPLAINED, Survivor, read_list, write_list
from tests.mutation.trial import ROOT

PAGE = ROOT / "docs" / "mutation.rst"

SOURCE = '''\
"""What it is for."""

from functools import lru_cache
from typing import Literal

Kind = Literal["a", "b"]
SIZE_MAX = 5
TABLE = {"size": SIZE_MAX}


@lru_cache(maxsize=8)
def is_small(size: int, kind: Kind = "a") -> bool:
    """Say whether it is small."""
    if kind:
        print(size)
    return size < SIZE_MAX
'''


def test_everything_that_runs_is_changed_and_nothing_else():
    found = {(mutant.where, mutant.minus, mutant.plus) for mutant in mutants_of(SOURCE)}
    table = 'TABLE = {"size": SIZE_MAX}'
    signature = 'def is_small(size: int, kind: Kind = "a") -> bool:'
    assert found == {
        ("SIZE_MAX", "SIZE_MAX = 5", "SIZE_MAX = 6"),
        ("SIZE_MAX", "SIZE_MAX = 5", "SIZE_MAX = None"),
        ("TABLE", table, 'TABLE = {"XXsizeXX": SIZE_MAX}'),
        ("TABLE", table, "TABLE = None"),
        ("is_small", signature, signature.replace('"a"', '"XXaXX"')),
        ("is_small", "if kind:", "if not (kind):"),
        ("is_small", "print(size)", "print(None)"),
        ("is_small", "print(size)", "pass"),
        ("is_small", "return size < SIZE_MAX", "return size <= SIZE_MAX"),
        ("is_small", "return size < SIZE_MAX", "return None"),
    }


def test_every_mutant_is_one_change_of_the_module():
    for mutant in mutants_of(SOURCE):
        assert mutant.source != SOURCE
        compile(mutant.source, "mutant", "exec")
        assert len(set(mutant.source.splitlines()) - set(SOURCE.splitlines())) == 1


TRY = """
import os, sys
from pathlib import Path
from tests.mutation.trial import Trial

source = Path("controlplane/core/paired_names.py").read_text()
endless = source + "while True: pass\\n"
for changed in (source, source.replace("= 8", "= 7"), source.replace("= 8", "= 1 // 0"), endless):
    trial = Trial("controlplane.core.paired_names", changed, ["tests/unit/core/test_edge_rights.py"], [], 2)
    print(trial.end(os.waitpid(trial.pid, 0)[1], 0.0).by or "survived")
"""


def test_a_mutant_is_killed_by_a_test_that_fails_by_an_import_that_fails_or_by_taking_for_ever():
    tried = subprocess.run([sys.executable, "-c", TRY], cwd=ROOT, capture_output=True, text=True)
    assert tried.stdout.splitlines() == [
        "survived",
        "tests/unit/core/test_edge_rights.py::test_a_node_that_names_itself_badly_is_named_by_its_key",
        "import",
        "time",
    ], tried.stderr


def test_the_command_of_the_page_works():
    (command,) = re.findall(r"^ +\$ (scripts/mutate .*--limit.*)$", PAGE.read_text(), re.MULTILINE)
    ended = subprocess.run(command.split(), cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^health +3 +\d ", ended.stdout, re.MULTILINE)


# The list


def test_the_list_keeps_reasons_and_the_survivors_of_other_modules(tmp_path):
    path = tmp_path / "list.toml"
    one, other, new = (Survivor(module, "f", '- "x"', "+ 5\\") for module in ("health", "access", "health"))
    new = new._replace(plus="+ 6")
    write_list([one], ["health"], path)
    assert read_list(path) == {one: UNEXPLAINED}
    path.write_text(path.read_text().replace(UNEXPLAINED, "equivalent"))
    write_list([other], ["access"], path)
    write_list([one, new], ["health"], path)
    assert read_list(path) == {one: "equivalent", other: UNEXPLAINED, new: UNEXPLAINED}
    write_list([], ["health"], path)
    assert read_list(path) == {other: UNEXPLAINED}


def test_every_listed_survivor_is_a_change_of_what_still_stands_there():
    sources = {module: " ".join((CORE / f"{module}.py").read_text().split()) for module in MODULES}
    for survivor in read_list():
        assert " ".join(survivor.minus.split()) in sources[survivor.module], survivor


def test_the_page_names_every_reason_with_its_number():
    said = dict(re.findall(r"^``([a-z-]+)`` \((\d+)\)$", PAGE.read_text(), re.MULTILINE))
    assert LIST.exists()
    assert {reason: int(number) for reason, number in said.items()} == Counter(read_list().values())
