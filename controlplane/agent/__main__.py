"""`python -m controlplane.agent SETTINGS`: what the command line becomes, so that an agent carries no parser along."""

import json
import sys

import msgspec

from controlplane.config import AgentSettings
from controlplane.errors import ControlPlaneError
from controlplane.logs import begin_logging
from controlplane.quiet import TLS, UNUSED, leave_out

settings = msgspec.convert(json.loads(sys.argv[1]), AgentSettings)
leave_out(*UNUSED)
if not settings.url.startswith("wss:"):
    leave_out(*TLS)
begin_logging("agent", settings.log_format, settings.log_level)
try:
    from controlplane.agent.process import main

    sys.exit(main(settings))
except ControlPlaneError as problem:
    sys.exit(f"error: {problem} [{problem.uri}]")
