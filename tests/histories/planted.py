"""The program with a defect: `python -m tests.histories.planted DEFECT master ...` is `controlplane master ...`."""

import sys

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from controlplane.cli.main import main  # noqa: E402
from tests.histories.defects import DEFECTS  # noqa: E402

if __name__ == "__main__":
    name = sys.argv.pop(1)
    if name != "none":
        DEFECTS[name]()
    main()
