"""``python extract_fts.py``, as the published program is called; the program is scripts/extract_fts.py."""

from active_indexing.cli.interrupts import run_program
from scripts.extract_fts import main

if __name__ == "__main__":
    run_program(main)
