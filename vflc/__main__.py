"""`python -m vflc`: the command line."""

from vflc.cli.main import main

main()
