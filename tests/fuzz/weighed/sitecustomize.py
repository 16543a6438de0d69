"""Python imports this when it starts and finds it on its path: the processes under test can be asked to tidy up."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.fuzz.memory import answer_requests

sys.path.pop(0)
answer_requests()
