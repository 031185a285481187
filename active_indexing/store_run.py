"""Release into a store from the settings of a run: the store is made, or found to fit, and filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from active_indexing.activation.methods.registry import activation_method
from active_indexing.artefacts.identity import sha256_bytes
from active_indexing.artefacts.versions import versions
from active_indexing.config import RunConfig
from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.network_input import shrunk
from active_indexing.images.inventory import inventory
from active_indexing.index.code_index import Codec
from active_indexing.index.preparation import prepare_index
from active_indexing.index.vector_index import VectorIndex
from active_indexing.integrations.c2pa_signing import Credentials, Signing
from active_indexing.parallel.resources import device_for, threads_for
from active_indexing.parallel.threads import one_core_per_operation
from active_indexing.records import SourceImage
from active_indexing.release.folder import FolderRelease
from active_indexing.release.image import ImageReleaser
from active_indexing.release.into_store import StoreRelease, new_image, release_into_store
from active_indexing.store.archive import BASE_INDEX, RELEASED_FOLDER, Store, create_store
from active_indexing.store.carried import carried_descriptor, load_carried_descriptor
from active_indexing.store.contract import FILE_NAME as CONTRACT
from active_indexing.store.contract import Contract, descriptor_identity, read_contract

PASSIVE = "passive"
"""Method of a store whose images are released as they are."""

FROZEN = frozenset(
    ("active", "method", "entries", "idx_factory", "quant", "fts_training_path", "fts_reference_path",
     "model_name", "model_path", "resize_size", "resize")
)  # fmt: skip
"""Settings that a store freezes when it is made."""


@dataclass(frozen=True, eq=False)
class Fitting:
    """What images are released with.

    Attributes:
        descriptor: on its device.
        index: trained, with the references that the activation keeps away from.
    """

    descriptor: Descriptor
    index: VectorIndex


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images to release that are no folder.

    Attributes:
        sources: paths, or names of images in memory; no two are equal.
        contents: such a name to the bytes of its file.
    """

    sources: Sequence[SourceImage]
    contents: Mapping[Path, bytes]


def release(
    config: RunConfig,
    folder: Path,
    *,
    pictures: Pictures | None = None,
    frozen: bool = True,
    wait: float = 0,
    credentials: Credentials | None = None,
) -> StoreRelease:
    """Release images into a store, which is made when there is none.

    Args:
        config: of the run; ``output_dir`` is not used.
        folder: of the store.
        pictures: what is released in place of the folder ``data_dir``.
        frozen: take descriptor, index, method and entries from a store that is there; otherwise they are
            those of ``config``, and refused when the store has others.
        wait: seconds to wait for another program that writes to the store.
        credentials: who signs the released files (C2PA); ``None`` leaves them unsigned.

    Raises:
        StoreError: settings that do not fit the store, or a store that can't be used.
        FileNotFoundError: no images.
    """
    sources = inventory(config.data_dir, exclude=folder) if pictures is None else pictures.sources
    device = device_for(config.device)
    if frozen and (folder / CONTRACT).is_file():
        config = with_frozen(config, read_contract(folder)[0])
        with Store(folder) as store:
            fitting = carried_fitting(store, device)
    else:
        fitting = fitting_of(config, device)
        open_or_create(config, folder, fitting)
    settings = {"config": asdict(config), "versions": versions()}
    with Store.writing(folder, wait) as store, one_core_per_operation():
        releaser = ImageReleaser(
            config.release, config.activation, fitting.descriptor, fitting.index, folder / RELEASED_FOLDER
        )
        return release_into_store(
            store,
            sources,
            releaser,
            describer(fitting.descriptor),
            contents=None if pictures is None else pictures.contents,
            save_format=config.save_format,
            settings=settings,
            threads=threads_for(config.workers),
            progress=config.verbose > 0,
            sign=None if credentials is None else Signing(credentials, fitting.descriptor.fingerprint),
        )


def open_or_create(config: RunConfig, folder: Path, fitting: Fitting) -> None:
    """Make a store for these settings, or refuse one that has others.

    Raises:
        StoreError: names what differs.
    """
    content = fitting.index.to_bytes()
    contract = contract_of(config, fitting, content)
    if not (folder / CONTRACT).is_file():
        carried = carried_descriptor(config.descriptor)
        create_store(folder, contract, content, carried.files, carried.loading)
    read_contract(folder)[0].refuse_other(contract, folder)


def contract_of(config: RunConfig, fitting: Fitting, content: bytes) -> Contract:
    """The contract that these settings ask for.

    Args:
        config: of the run.
        fitting: descriptor and index.
        content: bytes of the index.

    Raises:
        IndexFileError: an index that a store can't keep.
    """
    codec = Codec(content)
    index = {
        "factory": fitting.index.factory,
        "metric": fitting.index.metric,
        "training": sha256_bytes(codec.content),
        "references": sha256_bytes(content),
        "code_size": codec.code_size,
    }
    method = config.activation.method if config.active else PASSIVE
    return Contract(descriptor_identity(fitting.descriptor), index, method, config.index.entries)


def with_frozen(config: RunConfig, contract: Contract) -> RunConfig:
    """The settings with what a store has frozen."""
    active = contract.method != PASSIVE
    index = replace(config.index, entries=contract.entries)
    activation = replace(config.activation, method=contract.method) if active else config.activation
    return replace(config, active=active, index=index, activation=activation)


def fitting_of(config: RunConfig, device: torch.device) -> Fitting:
    """Descriptor and index that the settings ask for."""
    activation_method(config.activation.method)
    descriptor = load_descriptor(config.descriptor, device)
    prepared = prepare_index(
        config.index, descriptor.dim, descriptor.fingerprint, seed=config.seed, progress=config.verbose > 0
    )
    return Fitting(descriptor, prepared.index)


def carried_fitting(store: Store, device: torch.device) -> Fitting:
    """Descriptor and index that a store carries."""
    index = store.contract.index
    content = store.whole_file(BASE_INDEX, index["references"])
    return Fitting(
        load_carried_descriptor(store, device),
        VectorIndex.from_bytes(content, index["factory"], index["metric"]),
    )


def describer(descriptor: Descriptor) -> Callable[[np.ndarray], np.ndarray]:
    """From (H, W, 3) uint8 sRGB to (D,) float32, the same in every process and thread."""
    return lambda srgb: describe_blocks([shrunk(srgb, descriptor.preprocessing).numpy()], descriptor)[0]


def archive_run(config: RunConfig, folder: Path, run: FolderRelease, descriptor: Descriptor) -> int:
    """Record the released images of a run of ``main.py``, whose files stay in its output folder.

    Args:
        config: of the run.
        folder: of a store that fits, see :func:`open_or_create`.
        run: with its released images.
        descriptor: of the run.

    Returns:
        How many were new.

    Raises:
        StoreBusyError: another program writes to the store.
    """
    number, new = None, 0
    with Store.writing(folder) as store:
        for source, released in run.items():
            shipped = run.shipped_file(source)
            if shipped is None or released.entries is None:
                continue
            path, source_sha256 = shipped
            if store.database.find("source_sha256", source_sha256) is not None:
                continue
            if number is None:
                number = store.database.begin_run({"config": asdict(config), "versions": versions()})
            kept = str(path.resolve())
            made = new_image(released.row, source_sha256, kept, path, released.entries, describer(descriptor))
            store.append(number, [made])
            new += 1
        store.save_cache_if_due()
    return new
