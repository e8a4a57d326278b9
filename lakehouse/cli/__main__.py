"""`python -m lakehouse.cli` is `shoplake`."""

from lakehouse.cli import main

main()
