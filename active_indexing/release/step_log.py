"""activation_log.jsonl: the losses of optimisation steps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from active_indexing.activation.interface import Step
from active_indexing.artefacts.journal import drop_torn_line


class StepLog:
    """Appends every n-th optimisation step to ``activation_log.jsonl``.

    Args:
        path: the log.
        every: n.
    """

    def __init__(self, path: Path, every: int) -> None:
        self._path = path
        self._every = every
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            drop_torn_line(file)

    def __call__(self, image_id: int, step: Step) -> None:
        """Write one step of one image."""
        if (step.gd_it + 1) % self._every == 0:
            line = json.dumps({"id": image_id, **asdict(step)}) + "\n"
            with open(self._path, "a") as file:  # one write a line: threads do not mix
                file.write(line)
