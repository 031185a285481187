"""Release of one picture, from Python: a picture in, a file in memory and figures out, nothing written."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.methods.registry import activation_method, check_settings
from active_indexing.api.index import LARGEST_ID, AnyImage, Index, checked_index, plain_image
from active_indexing.artefacts.atomic import write_bytes
from active_indexing.config import configure
from active_indexing.images import any_image, decoding
from active_indexing.images.encoding import format_of
from active_indexing.images.inventory import content_id
from active_indexing.parallel.threads import one_core_per_operation
from active_indexing.records import SourceImage
from active_indexing.release.image import ImageReleaser
from active_indexing.release.names import released_names

_OF_A_RELEASE = ("seed", "save_format", "save_quality", "metadata", "entries")


@dataclass(frozen=True)
class Quality:
    """What was lost in a picture, as the columns of ``manifest.csv`` of these names.

    Attributes:
        psnr: dB, against the same picture encoded in the same way without activation; ``inf`` when equal.
        ssim: structural similarity of the same two.
        linf: largest change, in grey levels.
        ssimulacra2: 100 when equal; 90 is visually lossless, 70 high quality.
        ciede2000_p99: 99th percentile of CIEDE2000 after a Gaussian of 4 pixels.
        ciede2000_visible: share of the picture where it is over 2.3, just noticeable.
        butteraugli: largest of any place; ``None`` without ``butteraugli_main``, or above 2 megapixels.
        butteraugli_norm: 3-norm over all places, where ``butteraugli`` is.
    """

    psnr: float
    ssim: float
    linf: int
    ssimulacra2: float
    ciede2000_p99: float
    ciede2000_visible: float
    butteraugli: float | None
    butteraugli_norm: float | None


@dataclass(frozen=True, eq=False)
class ReleasedImage:
    """A picture as it may be published, and what an index should remember of it.

    Attributes:
        id: of the picture; its entries go into an index under it.
        content: bytes of the released file.
        format: of the file: ``png``, ``jpeg`` or ``webp``.
        entries: (K, D) float32, K of ``entries=K``, for ``Index.add``.
        quality: what was lost.
        cell_before: IVF cell of the picture's descriptor; ``None`` without cells.
        cell_after: IVF cell of the released picture's descriptor.
        notes: what decoding had to change, why the picture is hard to protect.
    """

    id: int
    content: bytes
    format: str
    entries: np.ndarray
    quality: Quality
    cell_before: int | None
    cell_after: int | None
    notes: tuple[str, ...]

    @property
    def image(self) -> Image.Image:
        """The released file, opened by Pillow."""
        return any_image.pillow_of(self.content)

    @property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 sRGB of the released file, transparency on white."""
        return decoding.read_bytes(self.content).srgb

    def save(self, path: Path | str) -> None:
        """Write the released file, whole or not at all.

        Raises:
            ValueError: a name whose ending stands for another format, or for none.
        """
        if format_of(str(path)) != self.format:
            raise ValueError(
                f"the released file is {self.format}, and {path} does not end like one: choose another "
                "name, or save_format= for activate."
            )
        write_bytes(Path(path), self.content)


def release(
    image: AnyImage, index: Index, *, active: bool = True, image_id: int | None = None, **settings: Any
) -> ReleasedImage:
    """Release one picture: moved towards its place in the index, or as it is; nothing is written or added.

    The same file, seed and id give the bytes that the command line writes. Entries of the index count as
    references, also those that were added after it was opened.

    Args:
        image: the picture; orientation, profile, transparency and metadata are kept as for files.
        index: where it will be found; it is not changed.
        active: move it, or release it as it is.
        image_id: id of the picture, 0 to 2**63 - 1, which keys its random draws; absent: made from the
            bytes of its file, of a picture in memory from those of a PNG of it.
        **settings: of the method, and ``seed``, ``entries``, ``save_format``, ``save_quality``, ``metadata``,
            named like the flags.

    Raises:
        ValueError: a picture that can't be released, with the reason, or a setting out of its range.
        TypeError: no picture, no index, or a setting that pictures don't have.
    """
    checked = checked_index(index)
    known = {each.name for each in fields(ActivationConfig)} | {*_OF_A_RELEASE}
    if unknown := sorted(settings.keys() - known):
        raise TypeError(
            f"unknown settings {', '.join(unknown)}; of a picture there are {', '.join(sorted(known))}."
        )
    if image_id is not None and not 0 <= image_id <= LARGEST_ID:
        raise ValueError(f"image_id must be from 0 to 2**63 - 1, got {image_id}.")
    config = configure(data_dir=".", output_dir=".", active=active, **settings)
    useless = check_settings(config.activation)
    if useless and active:
        warnings.warn(useless, stacklevel=3)
    if active:
        activation_method(config.activation.method).check(config.activation, checked.searched)
    plain = plain_image(image)
    content = any_image.file_of(plain)
    name = Path(plain).name if isinstance(plain, Path | str) else "image.png"
    source = SourceImage(content_id(content) if image_id is None else image_id, Path(name), name)
    releaser = ImageReleaser(
        config.release, config.activation, checked.descriptor, checked.searched, Path("imgs")
    )
    names = released_names([source], {}, config.save_format)[source.key]
    with one_core_per_operation():
        released, made = releaser.release_bytes(source, content, names)
    row = released.row
    if released.entries is None:
        raise ValueError(f"{name} can't be released: {row.reason}.")
    return ReleasedImage(
        id=source.id,
        content=made,
        format=str(format_of(row.released)),
        entries=released.entries,
        quality=Quality(**{each.name: getattr(row, each.name) for each in fields(Quality)}),
        cell_before=row.cell_before,
        cell_after=row.cell_after,
        notes=tuple(row.reason.split("; ")) if row.reason else (),
    )
