"""What an index is made of: two of one factory string, metric and dimension have the same structure."""

from __future__ import annotations

from typing import Any

import faiss

_NUMBERS = ("d", "metric_type", "nlist", "code_size", "by_residual", "nbits", "rotate_data", "k_factor")
_PARTS = ("quantizer", "storage", "base_index", "refine_index")
_QUANTIZERS = ("pq", "refine_pq", "rq", "lsq", "plsq", "prq", "aq", "sq")
_QUANTIZER_NUMBERS = ("d", "M", "tot_bits", "code_size", "qtype", "search_type", "nsplits")


def structure(index: Any) -> dict[str, Any]:
    """Kinds and sizes of an index and of all its parts, e.g. ``{"quantizer.d": 64, ...}``.

    Args:
        index: downcast by faiss.
    """
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        steps = [(n, chain.at(n)) for n in range(chain.size())]
        # A rotation comes back from a file as a plain linear transform.
        found: dict[str, Any] = {f"transform {n}": (int(step.d_in), int(step.d_out)) for n, step in steps}
        return found | structure(faiss.downcast_index(index.index))
    # FAISS reads the flat index of a metric as a class of its own.
    kind = "IndexFlat" if isinstance(index, faiss.IndexFlat) else type(index).__name__
    found = {"kind": kind}
    found |= {name: int(getattr(index, name)) for name in _NUMBERS if hasattr(index, name)}
    for name in _QUANTIZERS:
        part = getattr(index, name, None)
        found |= {
            f"{name}.{number}": int(getattr(part, number))
            for number in _QUANTIZER_NUMBERS
            if hasattr(part, number)
        }
    if hasattr(index, "hnsw"):
        found["links"] = int(index.hnsw.nb_neighbors(1))
    for name in _PARTS:
        part = getattr(index, name, None)
        if part is not None:
            nested = structure(faiss.downcast_index(part))
            found |= {f"{name}.{key}": value for key, value in nested.items()}
    return found


def misfits(index: Any, made: Any) -> list[str]:
    """What keeps an index that was read from being used as the one that was asked for.

    Args:
        index: read, downcast.
        made: new from the factory string, downcast.

    Returns:
        Reasons in words; none when it fits.
    """
    read, wanted = structure(index), structure(made)
    reasons = [
        f"its {name.replace('_', ' ')} is {read.get(name, 'absent')}, expected {wanted.get(name, 'none')}"
        for name in sorted(read.keys() | wanted.keys(), key=lambda name: (name != "kind", name))
        if read.get(name) != wanted.get(name)
    ]
    if not index.is_trained:
        reasons.append("it is not trained")
    ivf: Any = faiss.try_extract_index_ivf(index)
    if ivf and index.is_trained and int(ivf.quantizer.ntotal) != int(ivf.nlist):
        reasons.append(f"it has {int(ivf.quantizer.ntotal)} centroids for {int(ivf.nlist)} cells")
    return reasons
