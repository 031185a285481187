"""The remedies of a repair: each makes something again from what is whole."""

from __future__ import annotations

import numpy as np

from active_indexing.artefacts.atomic import write_array, write_bytes
from active_indexing.index.code_index import Codec, decoded_entries
from active_indexing.store.archive import BASE_INDEX, MOST_STRANGERS, STRANGERS, TRAINED_INDEX, Store


def encode_again(store: Store, seq: int, entries: np.ndarray) -> None:
    """Write the codes of an image from its descriptors, (K, D) float32."""
    made = store.codec.encode(entries)
    store.database.replace_codes(seq, made.tobytes(), int(store.codec.cells(made)[0]))


def write_trained(store: Store) -> None:
    """Write the trained index from the one with its references."""
    content = store.whole_file(BASE_INDEX, store.contract.index["references"])
    write_bytes(store.folder / TRAINED_INDEX, Codec(content).content)
    store.__dict__.pop("codec", None)


def write_strangers(store: Store) -> None:
    """Write the sample of decoded references."""
    content = store.whole_file(BASE_INDEX, store.contract.index["references"])
    write_array(store.folder / STRANGERS, decoded_entries(content, MOST_STRANGERS).astype(np.float16))
