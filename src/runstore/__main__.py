"""Run the command `runstore` as `python -m runstore`."""

from .cli import main

main(prog_name="runstore")
