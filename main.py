"""The published program: ``python main.py FLAGS`` is ``active-indexing run FLAGS``."""

import sys

from active_indexing.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
