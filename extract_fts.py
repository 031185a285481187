"""``python extract_fts.py``, as the published program is called; the program is scripts/extract_fts.py."""

import sys

from scripts.extract_fts import main

if __name__ == "__main__":
    sys.exit(main())
