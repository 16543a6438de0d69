"""On the Python path of the master's router, and of nothing else: what its processes find in the place of a library."""
