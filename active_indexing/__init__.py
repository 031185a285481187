"""Active image indexing: move an image imperceptibly so that its copies are found in a FAISS index.

What the command line does, from Python, with the same settings and defaults::

    import active_indexing

    passive = active_indexing.baseline("photos", "output/passive")
    active = active_indexing.activate("photos", "output/active", iterations=20, target="ori_ft")
    active.content["retrieval"]  # recall per attack; the CSVs lie in active.output_dir

Importing this package loads neither torch nor faiss; the first call does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from active_indexing.config import RunConfig, configure

if TYPE_CHECKING:
    from active_indexing.pipeline import RunSummary

__all__ = ["RunConfig", "__version__", "activate", "baseline", "configure", "run"]
__version__ = "0.2.0"


def run(config: RunConfig) -> RunSummary:
    """Do one arm of a run, from released files to report.html; the command line calls this.

    Args:
        config: from ``configure``.

    Raises:
        ValueError: settings that don't fit together, or an output folder of other settings.
        FileNotFoundError: no images, or a missing file.
        BlockingIOError: another run is writing to the output folder.
    """
    from active_indexing.pipeline import run as run_pipeline

    return run_pipeline(config)


def activate(data_dir: Path | str, output_dir: Path | str, **settings: Any) -> RunSummary:
    """Activate a folder of images, attack the released files and search them (``--active True``).

    Args:
        data_dir: folder of images to protect, or one image; never written to.
        output_dir: where everything is written.
        **settings: named like the flags of ``main.py``.
    """
    return run(configure(data_dir=data_dir, output_dir=output_dir, **settings, active=True))


def baseline(data_dir: Path | str, output_dir: Path | str, **settings: Any) -> RunSummary:
    """The same run with the images as they are (``--active False``), to compare with ``activate``.

    Args:
        data_dir: folder of images, or one image; never written to.
        output_dir: where everything is written.
        **settings: named like the flags of ``main.py``.
    """
    return run(configure(data_dir=data_dir, output_dir=output_dir, **settings, active=False))
