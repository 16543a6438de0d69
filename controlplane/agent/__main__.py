"""`python -m controlplane.agent SETTINGS`: what the command line becomes, so that an agent carries no parser along."""

import json
import sys
from pathlib import Path

import msgspec

from controlplane.config import AgentSettings
from controlplane.errors import ControlPlaneError
from controlplane.logs import begin_logging
from controlplane.quiet import TLS, UNUSED, leave_out


def _speaks_tls(settings: AgentSettings) -> bool:
    """Say whether TLS is needed, as far as that is known this early: a token or an earlier join may say so."""
    if settings.url:
        return settings.url.startswith("wss:")
    joined = Path(settings.state_dir) / "joined.json"
    return bool(settings.join) or (joined.exists() and "wss:" in joined.read_text())


settings = msgspec.convert(json.loads(sys.argv[1]), AgentSettings)
leave_out(*UNUSED)
if not _speaks_tls(settings):
    leave_out(*TLS)
begin_logging("agent", settings.log_format, settings.log_level)
try:
    from controlplane.agent.process import main

    sys.exit(main(settings))
except ControlPlaneError as problem:
    sys.exit(f"error: {problem} [{problem.uri}]")
