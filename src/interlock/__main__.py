"""`python -m interlock` is the command line."""

from interlock.cli import main

main()
