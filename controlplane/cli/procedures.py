"""The names of our own procedures, from the published contract: without importing the master."""

import json

from controlplane.paths import contract_file

OWN_PROCEDURES: tuple[str, ...] = tuple(
    procedure["uri"] for procedure in json.loads(contract_file("procedures.json").read_text())["procedures"]
)
