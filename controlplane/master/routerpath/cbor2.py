"""Stands before the module `cbor2` on the Python path of the master's router: values that are shared are refused.

CBOR can say of a part of a message that it is the same as another part (tags 28 and 29). Read, that costs nothing;
written again, as a router does with all that it passes on, every mention is written out: 300 bytes become gigabytes,
also those of somebody who has not logged in yet. No WAMP library sends such messages. Whoever imports this gets the
real module, found behind this one.
"""

import functools
import importlib.machinery
import importlib.util
import os
import sys
from typing import Any

SHAREABLE, SHARED = 28, 29


def refuse(_decoder: Any, *_: Any) -> Any:
    """Refuse a message that has a shared value."""
    raise ValueError("values that are shared are not read")


def load_real() -> None:
    """Put the real module in the place of this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    found = importlib.machinery.PathFinder.find_spec("cbor2", [p for p in sys.path if os.path.abspath(p) != here])
    if found is None or found.loader is None:
        raise ModuleNotFoundError("No module named 'cbor2'", name="cbor2")
    real: Any = importlib.util.module_from_spec(found)
    sys.modules["cbor2"] = real
    found.loader.exec_module(real)
    real.loads = functools.partial(real.loads, semantic_decoders={SHAREABLE: refuse, SHARED: refuse})


if __name__ == "cbor2":
    load_real()
