"""The driver for workers that are containers of an engine that speaks Docker's API."""
