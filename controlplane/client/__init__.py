"""Programs that use the plane: `Client` for Twisted and asyncio, `clustering.Proxy` for plain Python.

Neither is imported here, so that nobody pays for what they do not use.
"""

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()
