"""What a node is called that names itself."""

import re

from controlplane.records.types import LABEL_PATTERN

KEY_DIGITS_SHOWN = 8


def name_of_node(said: str, pubkey: str) -> str:
    """Return the name under which a node is paired: its own when it can be one, else one from its key."""
    return said if re.fullmatch(LABEL_PATTERN, said) else f"node-{pubkey[:KEY_DIGITS_SHOWN]}"
