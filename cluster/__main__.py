"""`python -m cluster` is the command `hedgegrid`."""

from cluster.cli import main

main()
