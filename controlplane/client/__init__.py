"""Programs that use the plane: `Client` for Twisted and asyncio, `clustering.Proxy` for plain Python.

Nothing is imported here, so that nobody pays for what they do not use.
"""
