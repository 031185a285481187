"""The published program: ``python main.py FLAGS`` is ``active-indexing run FLAGS``."""

import sys

if __name__ == "__main__":
    try:
        from active_indexing.cli.main import main

        sys.exit(main(["run", *sys.argv[1:]]))
    except KeyboardInterrupt:  # while it is imported
        print("interrupted; run the same command again.", file=sys.stderr)
        sys.exit(130)
