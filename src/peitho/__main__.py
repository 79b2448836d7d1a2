"""`python -m peitho`: the command line, where no script is installed."""

from peitho.cli import main

main(prog_name="peitho")
