"""Programs that use the plane: `Client` for Twisted and asyncio, `clustering.Proxy` for plain Python.

Nothing is imported here but what autobahn takes in anyway, so that nobody pays for what they do not use.
"""

from controlplane.quiet import take_in_quietly

take_in_quietly("bjdata")
