"""``python -m active_indexing`` is the command ``active-indexing``."""

import sys

from active_indexing.cli.main import main

sys.exit(main())
