"""What is frozen for the life of a store: everything that the place of an image in the index depends on.

A released image is worth its change only in the index that it was moved for, seen by the descriptor that it
was moved for. So the contract is written once, beside copies of what it names, and everything that comes
later is compared with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from active_indexing.artefacts.atomic import write_json
from active_indexing.artefacts.identity import fingerprint
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.hashing import hash_tensors
from active_indexing.store.errors import StoreError

FORMAT = "active_indexing.store/1"
FILE_NAME = "contract.json"

WORDS = {
    "descriptor.weights": "the weights of the descriptor",
    "descriptor.architecture": "the architecture of the descriptor",
    "descriptor.preprocessing": "the preprocessing of the descriptor",
    "descriptor.postprocessing": "the post-processing of the descriptor",
    "index.factory": "the kind of index (--idx_factory)",
    "index.metric": "the metric of the index (--quant)",
    "index.training": "the training of the index",
    "index.references": "the references of the index (--fts_reference_path)",
    "method": "the activation method (--active, --method)",
    "entries": "the codes per image (--entries)",
}
"""What people call each part; parts that are not here only follow from these."""


@dataclass(frozen=True)
class Contract:
    """Fingerprints of all that is frozen.

    Attributes:
        descriptor: ``name``, ``dim``, ``fingerprint``, and fingerprints of its ``weights``, ``architecture``,
            ``preprocessing`` and ``postprocessing`` (``None`` without).
        index: ``factory``, ``metric``, ``training`` (SHA-256 of the trained index without entries),
            ``references`` (what it was filled with for the activation, ``None`` without) and ``code_size``.
        method: name of the activation method, ``passive`` for images released as they are.
        entries: codes per image.
    """

    descriptor: dict[str, Any]
    index: dict[str, Any]
    method: str
    entries: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the contract."""
        return fingerprint(asdict(self))

    def refuse_other(self, other: Contract, folder: Path) -> None:
        """Refuse a run that does not fit.

        Args:
            other: of the run.
            folder: of the store, for the message.

        Raises:
            StoreError: names every part that differs.
        """
        differing = list(self.differences(other))
        if differing:
            raise StoreError(
                f"{folder} was made with other settings than these; what differs: {'; '.join(differing)}. "
                "Images released by both could not be found in one index: give the settings of the store, or "
                "choose another --store."
            )

    def differences(self, other: Contract) -> Iterator[str]:
        """What differs, in words, with both values where they are short."""
        ours, theirs = (_flat(asdict(contract)) for contract in (self, other))
        for key, words in WORDS.items():
            if ours.get(key) != theirs.get(key):
                told = (ours.get(key), theirs.get(key))
                short = all(len(str(value)) < 32 for value in told)
                yield f"{words} ({told[0]} in the store, {told[1]} now)" if short else words


def descriptor_identity(descriptor: Descriptor) -> dict[str, Any]:
    """The part of a contract about a descriptor."""
    post = descriptor.postprocessing
    return {
        "name": descriptor.name,
        "dim": descriptor.dim,
        "fingerprint": descriptor.fingerprint,
        "weights": hash_tensors(descriptor.network.state_dict()),
        "architecture": fingerprint(descriptor.architecture),
        "preprocessing": fingerprint(asdict(descriptor.preprocessing)),
        "postprocessing": None if post is None else post.fingerprint,
    }


def write_contract(contract: Contract, folder: Path, carried: dict[str, Any]) -> None:
    """Write the contract of a new store; it stands for a whole store, so it is written after all the rest.

    Args:
        contract: what is frozen.
        folder: of the store.
        carried: how the descriptor is loaded again, see ``store.archive``.
    """
    write_json(folder / FILE_NAME, {"format": FORMAT, **asdict(contract), "carried": carried})


def read_contract(folder: Path) -> tuple[Contract, dict[str, Any]]:
    """The contract of a store and how its descriptor is loaded.

    Raises:
        FileNotFoundError: no store there.
        StoreError: a damaged contract, or one of another program.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"no store {folder} (it has no {FILE_NAME}); `active-indexing release` makes one."
        )
    try:
        content = json.loads(path.read_text("utf-8"))
        form, carried = content.pop("format"), content.pop("carried")
        contract = Contract(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); put it back from a copy of the store.") from error
    if form != FORMAT:
        raise StoreError(
            f"{path} is of the format {form!r}, this program reads {FORMAT!r}; use its own program."
        )
    return contract, carried


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
