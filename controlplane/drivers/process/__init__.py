"""The driver for workers that are processes of this machine."""
