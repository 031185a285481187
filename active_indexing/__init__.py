"""Active image indexing: move an image imperceptibly so that its copies are found in a FAISS index.

What the command line does, from Python, with the same settings and defaults::

    import active_indexing

    passive = active_indexing.baseline("photos", "output/passive")
    active = active_indexing.activate("photos", "output/active", iterations=20, target="ori_ft")
    active.content["retrieval"]  # recall per attack; the CSVs lie in active.output_dir

And on pictures (paths, bytes, images of Pillow, arrays, tensors), without a file being written::

    index = active_indexing.Index()
    released = active_indexing.activate(picture, index)
    index.add(released.entries, released.id)
    index.search(copy_of_the_picture)[0].ids

Into a store that lives for years::

    store = active_indexing.ReleaseStore("archive")
    store.release({"beach.png": picture})
    store.query(suspicious).verdict

Importing this package loads neither torch nor faiss; the first call does.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing takes 10 ms to import, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any, overload

    import numpy as np

    from active_indexing.api.index import AnyImage, Index
    from active_indexing.api.release import Quality, ReleasedImage
    from active_indexing.api.store import ReleaseStore
    from active_indexing.config import RunConfig, configure
    from active_indexing.pipeline import RunSummary

__all__ = [
    "Index",
    "Quality",
    "ReleaseStore",
    "ReleasedImage",
    "RunConfig",
    "__version__",
    "activate",
    "baseline",
    "configure",
    "describe",
    "run",
]
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


if TYPE_CHECKING:

    @overload
    def activate(data_dir: Path | str, output_dir: Path | str, **settings: Any) -> RunSummary: ...
    @overload
    def activate(data_dir: AnyImage, output_dir: Index, **settings: Any) -> ReleasedImage: ...


def activate(data_dir: Any, output_dir: Any, **settings: Any) -> RunSummary | ReleasedImage:
    """Activate a folder of images, attack the released files and search them (``--active True``).

    With an :class:`Index` in place of the output folder: activate one picture for it; nothing is written.

    Args:
        data_dir: folder of images to protect, or one image; never written to. With an index: a path, the
            bytes of a file, an image of Pillow, (H, W, 3) uint8 sRGB, or a tensor (3, H, W).
        output_dir: where everything is written, or an index.
        **settings: named like the flags of ``main.py``; of a picture also ``image_id``, see ``api.release``.

    Raises:
        ValueError: settings out of their range, or a picture that can't be released, with the reason.
        TypeError: something else in place of a path, a picture or an index.
    """
    return _released(data_dir, output_dir, settings, active=True)


if TYPE_CHECKING:

    @overload
    def baseline(data_dir: Path | str, output_dir: Path | str, **settings: Any) -> RunSummary: ...
    @overload
    def baseline(data_dir: AnyImage, output_dir: Index, **settings: Any) -> ReleasedImage: ...


def baseline(data_dir: Any, output_dir: Any, **settings: Any) -> RunSummary | ReleasedImage:
    """The same with the images as they are (``--active False``), to compare with ``activate``."""
    return _released(data_dir, output_dir, settings, active=False)


def describe(images: AnyImage | Sequence[AnyImage], index: Index | None = None) -> np.ndarray:
    """Descriptors of pictures, the same in every process and whichever others are described.

    Args:
        images: a picture in any of the forms that ``activate`` takes, or N of them in a list.
        index: whose descriptor is meant; absent: the default descriptor.

    Returns:
        (D,) float32 of unit norm, or (N, D) of a list.

    Raises:
        ValueError: a picture that cannot be read, or of another shape or type than expected.
        TypeError: no picture at all.
    """
    from active_indexing.api import index as api

    return api.describe(images, index)


def _released(
    data_dir: Any, output_dir: Any, settings: dict[str, Any], *, active: bool
) -> RunSummary | ReleasedImage:
    from pathlib import Path

    from active_indexing.config import configure

    if isinstance(data_dir, str | Path) and isinstance(output_dir, str | Path):
        return run(configure(data_dir=data_dir, output_dir=output_dir, **settings, active=active))
    from active_indexing.api.release import release

    return release(data_dir, output_dir, active=active, **settings)


_LAZY = {
    "Index": "api.index",
    "ReleasedImage": "api.release",
    "Quality": "api.release",
    "ReleaseStore": "api.store",
    "RunConfig": "config",
    "configure": "config",
}
"""Name to the module that has it; those of ``api`` load torch, and all take time."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
