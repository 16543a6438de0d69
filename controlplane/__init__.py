"""A WAMP control plane for clusters of workers on many machines."""

__version__ = "0.1.0"
