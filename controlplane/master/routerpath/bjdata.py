"""Stands for bjdata, which autobahn takes in when it is there: on Python 3.11 it prints a traceback about NumPy.

The router speaks every other serializer of autobahn, and nobody asks it for UBJSON.
"""

raise ImportError("bjdata is left out")
