"""Factory strings that FAISS can't make, or dies of, are refused in words; what it can make is left alone."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from active_indexing.index.factory_strings import check_factory, is_plain
from active_indexing.index.vector_index import new_index

ROOM = 8 << 30
ROOT = Path(__file__).parents[2]
ZERO = r"numbers must be from 1 to 2,147,483,647, got "


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("IVF0,Flat", ZERO + "'IVF0'"),
        ("IVF16,PQ8x0", ZERO + "'PQ8x0'"),
        ("IVF16_HNSW0,Flat", ZERO + "'IVF16_HNSW0'"),
        ("HNSW0", ZERO),
        ("RQ0x8", ZERO),
        ("LSQ0x8", ZERO),
        ("NSG0,Flat", ZERO),
        ("Residual1x0,PQ8", ZERO + "'Residual1x0'"),
        ("RR0,Flat", ZERO),
        ("PQ0", ZERO),
        ("OPQ0,PQ8", ZERO),
        ("OPQ8_0,PQ8", ZERO),
        ("SQ0", ZERO),
        ("PCAR0,Flat", ZERO),
        ("ITQ0,LSH", ZERO),
        ("PRQ2x0x4", ZERO),
        ("ZnLattice0x10_6", ZERO),
        ("IVF99999999999,Flat", ZERO),
        ("HNSW1", "HNSW wants 2 to 1,024 links per entry, got 1; HNSW32 is usual"),
        ("HNSW1000000000", "HNSW wants 2 to 1,024 links per entry"),
        ("NSG1,Flat", "NSG wants 2 to 1,024 links per entry"),
        ("IVF999999999,Flat", r"would take about 163\.9 GiB .*IVF999999999 most of it.* 8\.0 GiB are free"),
        ("IVF999M,Flat", "IVF999M most of it"),
        ("IMI2x20,PQ8", "IMI2x20 most of it"),
        ("Residual8x8,PQ8", "Residual8x8 most of it"),
        ("RR1000000,Flat", "RR1000000 most of it"),
        ("RQ1000000x8", "RQ1000000x8 most of it"),
        ("LSQ1x20", "LSQ1x20 most of it"),
        ("PQ8x64", "PQ8x64 most of it"),
        ("PCA1000,Flat", "PCA1000 can't make 1,000 dimensions of 32; give at most 32"),
        ("", "it is no FAISS factory string"),
        ("IVF4,../x", "it is no FAISS factory string"),
        ("Flat\n", "it is no FAISS factory string"),
        ("IVF4,Flat" + "," * 300, "it is no FAISS factory string.* at most 150 letters"),
    ],
)
def test_sizes_that_faiss_dies_of_are_refused_in_words(factory: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_factory(factory, 32, ROOM)
    with pytest.raises(ValueError, match=r"FAISS can't make an index .* for 32 dimensions with --quant L2: "):
        new_index(factory, "L2", 32)


@pytest.mark.parametrize(
    "factory",
    [
        "IVF1024,PQ8x8",
        "OPQ16_64,IVF65k,PQ16",
        "IVF65536_HNSW32,Flat",
        "PCA32,L2norm,Flat",
        "HNSW32,SQ8",
        "LSHrt",
    ],
)
def test_usual_factories_need_no_trial(factory: str) -> None:
    check_factory(factory, 512, ROOM)
    assert is_plain(factory)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("IVF16,PQ8x25", "nbits larger than 24 is not practical"),
        ("IVF-5,Flat", "could not parse index string"),
        ("NSG16,Flat", "its graph is made in one go"),
        ("Residual2x4,PQ8", "FAISS encodes with it, but can't search it"),
        ("IDMap2,Flat", "leave the IDMap out"),
        ("PCA16,IDMap,Flat", "leave the IDMap out"),
    ],
)
def test_what_is_of_no_use_here_is_refused(factory: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_index(factory, "L2", 32)


def test_a_factory_that_kills_its_trial_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("active_indexing.index.faiss_parts.check_factory", lambda *_: None)
    with pytest.raises(ValueError, match=r"FAISS dies of it \(SIG[A-Z]+\) when it is trained or filled"):
        new_index("RQ0x8", "L2", 32)


def _drawn(draw: random.Random) -> str:
    """A factory string of the grammar with small and odd numbers."""

    def number() -> str:
        return str(draw.choice((0, 1, 2, 3, 4, 8, 16, 31, 10**9)))

    transforms = [f"{kind}{number()}," for kind in ("PCA", "PCAR", "PCAW", "RR", "ITQ", "OPQ", "Pad")]
    transforms += [f"OPQ{number()}_{number()},", "L2norm,", "", "", ""]
    codes = ["Flat", f"SQ{number()}", "SQ8", f"PQ{number()}x{number()}", f"PQ{number()}x{number()}np", "LSH"]
    codes += [f"PQ{number()}x4fs"]
    cells = [f"IVF{number()},", f"IVF{number()}_HNSW{number()},", f"IMI2x{number()},", f"HNSW{number()},", ""]
    codes += [f"{kind}{number()}x{number()}" for kind in ("RQ", "LSQ")]
    return draw.choice(transforms) + draw.choice(cells) + draw.choice(codes)


_PROGRAM = """
import sys
import faiss, numpy as np
from active_indexing.index.vector_index import new_index
faiss.omp_set_num_threads(1)
rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
for line in sys.stdin:
    factory = line.strip()
    print("at", factory, flush=True)
    try:
        index = new_index(factory, "L2", 16)
        index.train(rows)
        index.add(rows[:50], np.arange(50))
        index.set_nprobe(2)
        index.search(rows[:3], 5)
        index.cells(rows[:3])
        index.reconstruct(rows[:3])
        print("fine", flush=True)
    except ValueError as error:
        assert str(error).strip(), factory
print("the end")
"""


def test_no_factory_of_the_grammar_kills_the_process() -> None:
    draw = random.Random(0)
    factories = sorted({_drawn(draw) for _ in range(60)})
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input="\n".join(factories), cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.endswith("the end\n"), done.stdout[-200:] + done.stderr[-2000:]
    assert done.returncode == 0
    assert done.stdout.count("fine") > 10
