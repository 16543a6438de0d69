"""`python -m controlplane.agent.keypairs FILE NAME`: makes a key and a request for certificates, in a process apart.

The agent keeps the memory that this takes to itself: it needs a new key once a month. The file is for its owner only.
"""

import json
import sys
from pathlib import Path

from controlplane import certificates

if __name__ == "__main__":
    key = certificates.make_key()
    made = {
        "key": key.decode(),
        "request": certificates.make_request(key, sys.argv[2]).decode(),
        "fingerprint": certificates.key_fingerprint(key),
    }
    certificates.write_private(Path(sys.argv[1]), json.dumps(made).encode())
