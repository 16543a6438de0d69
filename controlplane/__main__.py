"""`python -m controlplane` is the command line."""

from controlplane.cli.main import main

main()
