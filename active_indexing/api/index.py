"""The vector index and descriptors of pictures, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.network_input import shrunk
from active_indexing.images import any_image
from active_indexing.images.tensors import to_pixels
from active_indexing.index import files
from active_indexing.index.config import IndexConfig
from active_indexing.index.neighbours import Neighbours
from active_indexing.index.preparation import open_fitting, prepare_index
from active_indexing.index.vector_index import VectorIndex, new_index
from active_indexing.parallel.resources import device_for
from active_indexing.parallel.threads import one_core_per_operation

AnyImage = any_image.AnyImage | torch.Tensor
"""A path, the bytes of a file, an image of Pillow, an array (H, W, 3) of uint8 sRGB, or a tensor (3, H, W) of
uint8 or of floats in [0, 1]."""

LARGEST_ID = 2**63 - 1
ENDING = ".index"


class Index:
    """A vector index with the descriptor that it was made for.

    Args:
        source: absent: the embedded default, with its 60,000 references; a file ending in ``.index``, from
            :meth:`save` or trained by a run; or a FAISS factory string such as ``IVF256,PQ8x8``.
        training: descriptors to train a factory's index from, (N, D) float32 or a file of them (.npy, .pth).
        quant: metric of a factory's index: ``L2``, squared distance, or ``IP``, inner product.
        nprobe: IVF cells visited per query.
        device: torch device; absent: a GPU when there is one.
        **descriptor: ``model_name``, ``model_path``, ``resize_size``, as the flags of these names.

    Attributes:
        descriptor: from pictures to (D,) unit vectors.
        searched: the index itself.

    Raises:
        ValueError: parts that do not fit together; the text says what was expected.
        FileNotFoundError: a file that is not there.
    """

    def __init__(
        self,
        source: Path | str | None = None,
        *,
        training: np.ndarray | Path | str | None = None,
        quant: str = "L2",
        nprobe: int = IndexConfig.nprobe,
        device: str | None = None,
        **descriptor: Any,
    ) -> None:
        config = IndexConfig(quant=quant, nprobe=nprobe)
        from_file = source is not None and str(source).endswith(ENDING)
        if training is not None and (source is None or from_file):
            raise ValueError("training= is for an index from a factory string, such as IVF256,PQ8x8.")
        if "model_path" in descriptor:
            descriptor["model_path"] = Path(descriptor["model_path"])
        self.descriptor: Descriptor = load_descriptor(DescriptorConfig(**descriptor), device_for(device))
        self._made_from: dict[str, Any] = {
            "dim": self.descriptor.dim,
            "descriptor": self.descriptor.fingerprint,
        }
        if source is None:
            self.searched = prepare_index(config, self.descriptor.dim, self.descriptor.fingerprint).index
        elif from_file:
            self.searched = self._loaded(Path(source))
        else:
            self.searched = self._trained(str(source), quant, training)
        self._made_from |= {"factory": self.searched.factory, "quant": self.searched.metric}
        self.searched.set_nprobe(nprobe)
        self._ids = set(self.searched.ids.tolist())

    def __len__(self) -> int:
        """Entries, of which an id may have several."""
        return self.searched.ntotal

    def __contains__(self, image_id: int) -> bool:
        """Whether an id has entries."""
        return image_id in self._ids

    def __repr__(self) -> str:
        """Kind, descriptor, entries."""
        kind = f"{self.searched.factory}, {self.searched.metric}"
        return f"Index({kind}, {self.descriptor.name}, {len(self):,} entries)"

    def add(
        self, what: AnyImage | Sequence[AnyImage] | np.ndarray, ids: int | Sequence[int] | np.ndarray
    ) -> None:
        """Add entries; all entries of one id are added together.

        Args:
            what: pictures, or descriptors: (D,) or (N, D) floating point, such as ``ReleasedImage.entries``.
            ids: one for all, or N of them, from 0 to 2**63 - 1, which are not in the index yet.

        Raises:
            ValueError: an id that is there already, lengths that differ, or what is no descriptor or picture.
        """
        vectors = self._vectors(what)
        given = np.atleast_1d(np.asarray(ids))
        if given.dtype.kind not in "iu" or given.ndim != 1 or (given < 0).any() or (given > LARGEST_ID).any():
            raise ValueError(f"ids are whole numbers from 0 to 2**63 - 1; got {ids!r}.")
        given = np.full(len(vectors), given[0]) if len(given) == 1 else given
        if known := sorted(self._ids.intersection(given.tolist())):
            raise ValueError(f"the index has entries of id {known[0]} already; choose another id.")
        self.searched.add(vectors, given)
        self._ids.update(given.tolist())

    def search(self, what: AnyImage | Sequence[AnyImage] | np.ndarray, k: int = 1) -> list[Neighbours]:
        """The k best ids of each query, each once, best first; fewer when the visited cells hold fewer.

        Args:
            what: pictures, or descriptors: (D,) or (N, D) floating point.
            k: at least 1.

        Returns:
            N answers with ``ids`` (n,) int64 and ``distances`` (n,) float32, n <= k.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        return self.searched.search(self._vectors(what), k)

    def save(self, path: Path | str) -> None:
        """Write the index with its entries, and beside it a ``.json`` that says what made it.

        Raises:
            ValueError: a name that does not end in ``.index``, or an index whose file would not keep ids.
        """
        if not str(path).endswith(ENDING):
            raise ValueError(f"an index is saved under a name that ends in {ENDING}; got {path}.")
        files.save(Path(path), self.searched, self._made_from)

    def _loaded(self, path: Path) -> VectorIndex:
        made_from = files.made_from(path)
        factory, metric = str(made_from.get("factory")), str(made_from.get("quant"))
        return files.load(path, self._made_from, factory, metric)[0]

    def _trained(self, factory: str, metric: str, training: np.ndarray | Path | str | None) -> VectorIndex:
        index = new_index(factory, metric, self.descriptor.dim)
        if not index.needs_training:
            return index
        if training is None:
            raise ValueError(
                f"an index {factory} must be trained: give training= an array (N, {index.dim}) of "
                "descriptors, or a file of them; or leave the factory out for the embedded index."
            )
        if isinstance(training, Path | str):
            opened = open_fitting(Path(training), index.dim, self.descriptor.fingerprint)
            training = (
                opened.sample(index.training_sizes.most, seed=0) if opened else np.empty((0, index.dim))
            )
        index.train(training)
        return index

    def _vectors(self, what: Any) -> np.ndarray:
        """(N, D) float32 of pictures or descriptors."""
        if isinstance(what, np.ndarray) and what.dtype.kind == "f" and what.ndim < 3:
            return np.atleast_2d(what)
        return np.atleast_2d(describe(what, self))


def describe(images: AnyImage | Sequence[AnyImage], index: Index | None = None) -> np.ndarray:
    """Descriptors of pictures, the same in every process and whichever others are described.

    Args:
        images: a picture, or N of them in a list.
        index: whose descriptor is meant; absent: the default descriptor.

    Returns:
        (D,) float32 of unit norm, or (N, D) of a list.

    Raises:
        ValueError: a picture that cannot be read, or of another shape or type than expected.
        TypeError: no picture at all.
    """
    descriptor = _default_descriptor() if index is None else checked_index(index).descriptor
    several = isinstance(images, list | tuple)
    pictures: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    inputs = [
        shrunk(any_image.srgb_of(plain_image(each))[0], descriptor.preprocessing).numpy() for each in pictures
    ]
    with one_core_per_operation():
        described = describe_blocks(inputs, descriptor)
    return described if several else described[0]


def plain_image(image: Any) -> Any:
    """The image, a tensor as its pixels."""
    return to_pixels(image) if isinstance(image, torch.Tensor) else image


def checked_index(index: Any) -> Index:
    """The index, or a TypeError that says what was expected."""
    if not isinstance(index, Index):
        raise TypeError(
            f"a picture goes with an active_indexing.Index, got a {type(index).__name__}: "
            "activate(picture, index); a folder is released by activate(data_dir, output_dir) with two paths."
        )
    return index


@cache
def _default_descriptor() -> Descriptor:
    return load_descriptor(DescriptorConfig(), device_for(None))
