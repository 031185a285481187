"""FAISS factory strings, read before FAISS sees them.

FAISS 1.15 reads any number in them, and some kill the whole process: ``HNSW0`` fails an assertion, ``RQ0x8``
and ``RR0,Flat`` read past an array, ``IVF16,PQ8x0`` divides by zero, ``IVF999999999,Flat`` takes all memory.
"""

from __future__ import annotations

import re

MOST_CHARACTERS = 150
"""The string is part of a file name, which has at most 255 bytes."""

LARGEST_NUMBER = 2**31 - 1
"""FAISS reads numbers as 32-bit integers."""

GRAPH_LINKS = (2, 1024)
"""Links per entry of HNSW and NSG: with 1 FAISS divides by log(1); 4 to 64 are useful (FAISS's wiki)."""

_EXAMPLES = "IVF1024,PQ8x8, OPQ16,IVF256,PQ16, HNSW32, PQ16 or Flat"
_CODEBOOKS = r"(PRQ|PLSQ|RQ|LSQ|PQ|Residual|RCQ)(?:\d+x(?=\d+x))?(\d+)x(\d+)"
_LIST_BYTES = 48
"""Of an empty inverted list: two ``std::vector``."""

_PLAIN = re.compile(
    r"""((PCA|PCAR|PCAW|PCAWR|Pad)\d+,|(RR|ITQ)\d*,|OPQ\d+(_\d+)?,|L2[nN]orm,)*
    (IVF\d+[kM]?(_HNSW\d*)?,(Flat|PQ\d+(x\d+)?(np|fs|fsr)?|SQ(4|6|8|fp16)) | HNSW\d*(,(Flat|SQ8|PQ\d+))?
    | Flat | PQ\d+(x\d+)?(np|fs)? | SQ(4|6|8|fp16) | LSHr?t?)(,RFlat)?""",
    re.VERBOSE,
)


def is_plain(factory: str) -> bool:
    """Whether only parts are named that FAISS is known to handle once :func:`check_factory` has passed."""
    return _PLAIN.fullmatch(factory) is not None


def check_factory(factory: str, dim: int, available: int) -> None:
    """Refuse sizes that FAISS can't make, or dies of.

    Args:
        factory: FAISS factory string, e.g. ``OPQ16_64,IVF4096,PQ16``.
        dim: length of the descriptors.
        available: bytes of memory that the empty index may take.

    Raises:
        ValueError: with the part that is wrong.
    """
    if not factory or len(factory) > MOST_CHARACTERS or not re.fullmatch(r"[A-Za-z0-9_,+().-]+", factory):
        raise ValueError(
            f"it is no FAISS factory string: give --idx_factory one of at most "
            f"{MOST_CHARACTERS} letters, digits and _ , + ( ), such as {_EXAMPLES}."
        )
    for part in factory.split(","):
        _check_numbers(part)
    parts = _costs(factory, dim)
    wanted = sum(parts.values())
    if wanted > available:
        largest = max(parts, key=parts.__getitem__)
        raise ValueError(
            f"it would take about {_gigabytes(wanted)} of memory before anything is "
            f"added ({largest} most of it), but {_gigabytes(available)} are free: choose smaller numbers."
        )


def _check_numbers(part: str) -> None:
    for number in re.findall(r"\d+", part):
        if int(number[:12]) == 0 or len(number) > 10 or int(number) > LARGEST_NUMBER:
            raise ValueError(
                f"numbers must be from 1 to {LARGEST_NUMBER:,}, got {part!r}; "
                f"valid are for example {_EXAMPLES}."
            )
    least, most = GRAPH_LINKS
    for graph, links in re.findall(r"(HNSW|NSG)(\d+)", part):
        if not least <= int(links) <= most:
            raise ValueError(
                f"{graph} wants {least} to {most:,} links per entry, got {links}; {graph}32 is usual."
            )


def _costs(factory: str, dim: int) -> dict[str, int]:
    """Part of the string to the bytes of its tables, estimated from FAISS's own structures."""
    costs = {}
    for part in factory.split(","):
        out = _dimensions_after(part)
        if out is not None:
            if part.startswith("PCA") and out > dim:
                raise ValueError(f"{part} can't make {out:,} dimensions of {dim:,}; give at most {dim:,}.")
            costs[part] = 8 * max(dim, out) ** 2
            dim = out
        else:
            costs[part] = _cells(part, dim) + _codebooks(part, dim)
    return costs


def _dimensions_after(part: str) -> int | None:
    """Dimensions that a transform ends in, ``None`` where it keeps them or is no transform."""
    found = re.fullmatch(r"(?:PCA[WR]*|RR|ITQ|Pad|OPQ\d+_)(\d+)", part)
    return int(found[1]) if found else None


def _cells(part: str, dim: int) -> int:
    bytes_ = 0
    for number, unit in re.findall(r"(?:IVF|Residual)(\d+)([kM]?)(?![\dx])", part):
        cells = int(number) * {"": 1, "k": 1000, "M": 1_000_000}[unit]
        bytes_ += cells * (4 * dim + _LIST_BYTES)
    for bits in re.findall(r"IMI2x(\d+)", part):
        bytes_ += _power(2 * int(bits)) * _LIST_BYTES
    for steps, bits in re.findall(r"(?:Residual|RCQ)(\d+)x(\d+)", part):
        bytes_ += _power(int(steps) * int(bits)) * _LIST_BYTES
    return bytes_


def _codebooks(part: str, dim: int) -> int:
    bytes_ = 0
    for kind, steps, bits in re.findall(_CODEBOOKS, part):
        centroids = _power(int(bits))
        bytes_ += 4 * dim * centroids * (1 if kind == "PQ" else int(steps))
        if kind != "PQ":  # products of all pairs of centroids
            bytes_ += 4 * min(int(steps) * centroids, 2**62) ** 2
    return bytes_


def _power(bits: int) -> int:
    """2**bits, kept small enough to be printed."""
    return 2 ** min(bits, 62)


def _gigabytes(count: int) -> str:
    return f"{min(count, 2**62) / 2**30:,.1f} GiB"
