"""Which tests have to find the mutants of which module: those that are its specification, and no others."""

from tests.mutation.trial import ROOT

CORE = ROOT / "controlplane" / "core"
_CONFIGS = ("tests/unit/core/test_router_problems.py", "tests/unit/test_router_configs.py")
_TESTS = {
    "generic_clusters": ("tests/unit/core/test_generic_clusters.py", "tests/unit/core/test_balancing.py"),
    "placement": ("tests/unit/core/test_placement.py", "tests/unit/core/test_spreading.py"),
    "planning": (
        "tests/unit/core/test_plans_by_example.py",
        "tests/unit/core/test_plans_of_leaving.py",
        "tests/unit/core/test_balancing.py",
        "tests/unit/core/test_generic_clusters.py",
        "tests/unit/core/test_spreading.py",
        "tests/unit/core/test_planning.py",
    ),
    "pooling": ("tests/unit/core/test_pools_by_example.py", "tests/unit/core/test_standby.py"),
    "situation": ("tests/unit/core/test_plans_by_example.py", "tests/unit/core/test_planning.py"),
    "paired_names": ("tests/unit/core/test_edge_rights.py",),
    "router_clusters": ("tests/unit/test_router_clusters.py",),
    "router_configs": ("tests/unit/core/test_router_exposures.py", *_CONFIGS),
    "router_listening": _CONFIGS,
    "router_logins": _CONFIGS,
    "router_rights": _CONFIGS,
    "router_schema": _CONFIGS,
    "router_shapes": ("tests/unit/core/test_router_shapes.py", *_CONFIGS),
}


def killers_of(module: str) -> tuple[str, ...]:
    """Return the test files of a module of core, the quick ones first."""
    own = f"tests/unit/core/test_{module}.py"
    return _TESTS.get(module) or ((own,) if (ROOT / own).exists() else ())


ALL = sorted(path.stem for path in CORE.glob("*.py") if path.stem != "__init__")
MODULES = [module for module in ALL if killers_of(module)]
"""Those that can be tried; what has no tests of its own has nothing to be tried with."""
