"""Our own procedures as the published contract has them: without importing the master."""

import json
from collections.abc import Mapping
from typing import Any

from controlplane.paths import contract_file

_PROCEDURES = json.loads(contract_file("procedures.json").read_text())["procedures"]
OWN_PROCEDURES: tuple[str, ...] = tuple(procedure["uri"] for procedure in _PROCEDURES)


def arguments_of(uri: str) -> Mapping[str, Any]:
    """Return the arguments of a procedure by their names, in order; none of a procedure that there is not."""
    for procedure in _PROCEDURES:
        if uri == procedure["uri"] or uri in procedure.get("aliases", ()):
            return {argument["name"]: argument for argument in procedure["arguments"]}
    return {}
