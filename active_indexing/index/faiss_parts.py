"""Parts of FAISS indexes: transforms, clusterings, repairs after reading."""

from __future__ import annotations

from typing import Any

import faiss


def split_transforms(index: Any) -> tuple[list[Any], Any]:
    """The transforms before an index, and the index behind them."""
    if not isinstance(index, faiss.IndexPreTransform):
        return [], index
    transforms: Any = index.chain
    chain = [faiss.downcast_VectorTransform(transforms.at(i)) for i in range(transforms.size())]
    return chain, faiss.downcast_index(index.index)
