"""The descriptor that a store carries with it: it can be asked in years, whatever the default is then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from active_indexing.artefacts.identity import sha256_file
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import DEFAULT_DESCRIPTOR, load_descriptor
from active_indexing.descriptors.postprocessing import postprocessing_path
from active_indexing.store.archive import CONTRACT_FOLDER, CarriedFile, Store
from active_indexing.store.contract import descriptor_identity
from active_indexing.store.errors import StoreError


@dataclass(frozen=True)
class Carried:
    """Files to copy into a new store, and how the descriptor is loaded from them."""

    files: tuple[CarriedFile, ...]
    loading: dict[str, Any]


def carried_descriptor(config: DescriptorConfig) -> Carried:
    """What a store must carry for this descriptor.

    A network of a library without a file of weights is fetched by its name again.
    """
    path = config.model_path
    if path is None and config.model_name is None:
        path = DEFAULT_DESCRIPTOR
    loading: dict[str, Any] = {
        "model_name": config.model_name,
        "resize_size": config.resize_size,
        "file": None,
    }
    if config.resize is not None:
        loading["resize"] = config.resize
    if path is None:
        return Carried((), loading)
    name = f"descriptor{path.suffix}"
    files = [CarriedFile(path, name)]
    post = postprocessing_path(path)
    for each in (post, post.with_suffix(".json")):
        if each.is_file():
            files.append(CarriedFile(each, each.name.replace(path.name, name, 1)))
    sums = {each.name: sha256_file(each.source) for each in files}
    return Carried(tuple(files), loading | {"file": name, "sha256": sums})


def load_carried_descriptor(store: Store, device: torch.device) -> Descriptor:
    """The descriptor of a store.

    Raises:
        StoreError: its files are missing, or give other descriptors than when the store was made.
    """
    carried = store.carried
    file = carried.get("file")
    path: Path | None = None if file is None else store.folder / CONTRACT_FOLDER / file
    config = DescriptorConfig(
        model_name=carried.get("model_name"),
        model_path=path,
        resize_size=carried.get("resize_size"),
        resize=carried.get("resize"),
    )
    try:
        descriptor = load_descriptor(config, device)
    except (ValueError, OSError) as error:
        raise StoreError(
            f"the descriptor of {store.folder} can't be loaded ({error}); put the folder {CONTRACT_FOLDER} "
            f"back from a copy."
        ) from error
    if descriptor.fingerprint != store.contract.descriptor["fingerprint"]:
        now = descriptor_identity(descriptor)
        differing = [key for key in ("weights", "architecture", "preprocessing", "postprocessing")
                     if now[key] != store.contract.descriptor[key]]  # fmt: skip
        other = " and ".join(differing) or "recipe"
        raise StoreError(
            f"the descriptor in {store.folder / CONTRACT_FOLDER} has another {other} than when the "
            f"store was made; "
            "put the folder back from a copy."
        )
    return descriptor
