"""Keeps parts of libraries that we do not use out of our processes.

autobahn brings serializers and helpers that it takes in when they are there and does without when they are not: bjdata
(which on Python 3.11 complains on the terminal of another NumPy), FlatBuffers with NumPy, and more. An edge node has
better uses for the memory. Only our own programs do this, before autobahn is imported. A program that uses our client
keeps all of them, and is but spared the complaint.
"""

import io
import sys
from contextlib import redirect_stderr, suppress
from importlib import import_module

UNUSED = ("bjdata", "autobahn.flatbuffers", "msgpack", "argon2", "click")
"""What autobahn and Twisted import if they can, and what we never call. The command line, which needs click, has it."""

TLS = ("OpenSSL",)
"""What Twisted imports for TLS if it can."""


def leave_out_bjdata() -> None:
    """Have imports of bjdata fail at once; call this before autobahn is imported."""
    leave_out("bjdata")


def leave_out(*modules: str) -> None:
    """Have imports of these modules fail at once, unless they have been imported already."""
    for module in modules:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]


def take_in_quietly(module: str) -> None:
    """Import a module without what it has to say on the terminal, if it is there and nobody has imported it yet."""
    if module not in sys.modules:
        with redirect_stderr(io.StringIO()), suppress(ImportError):
            import_module(module)
