"""The published program: ``python main.py FLAGS`` is ``active-indexing run FLAGS``."""

import sys

if __name__ == "__main__":
    from active_indexing.cli.interrupts import exit_with, leave_quietly

    leave_quietly()  # before all that takes time
    from active_indexing.cli.main import main

    exit_with(lambda: main(["run", *sys.argv[1:]]))
