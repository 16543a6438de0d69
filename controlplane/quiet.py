"""Keeps a complaint of a library from users' terminals.

autobahn tries to import bjdata for a serializer that we do not use. Built against another NumPy, as it is on Python
3.11 beside Crossbar.io's requirements, that import prints a traceback and goes on. Our programs do without it; a
program that only uses our client is left alone.
"""

import sys


def leave_out_bjdata() -> None:
    """Have imports of bjdata fail at once; call this before autobahn is imported."""
    sys.modules.setdefault("bjdata", None)  # type: ignore[arg-type]
