"""What a program finds on its terminal that uses the client: nothing, and all of its libraries."""

import subprocess
import sys

import pytest

PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
from autobahn.wamp import serializer
print(hasattr(serializer, "UBJSONSerializer"))
"""


@pytest.mark.parametrize("module", ["controlplane.client.clustering", "controlplane.client.client"])
def test_a_program_that_uses_the_client_is_spared_what_others_complain_of(module):
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, check=True)
    plain = [sys.executable, "-c", PROGRAM, "json"]
    assert (done.stderr, done.stdout) == ("", subprocess.run(plain, capture_output=True, text=True).stdout)
