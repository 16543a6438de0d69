"""For modules that stand before another one of their name on the Python path of workers."""

import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType


def load_behind(name: str) -> ModuleType:
    """Put the module that is found behind this folder in the place of the one that asks, and return it."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in sys.path if os.path.abspath(path) != here]
    found = importlib.machinery.PathFinder.find_spec(name, others)
    if found is None or found.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    real = importlib.util.module_from_spec(found)
    sys.modules[name] = real
    found.loader.exec_module(real)
    return real
