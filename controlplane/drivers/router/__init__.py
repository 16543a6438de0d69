"""Router and proxy workers of a real Crossbar.io node."""
