from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from active_indexing.descriptors import quick_passes as module
from active_indexing.descriptors.quick_passes import multiplies_bfloat16, quick_passes
from tests.activation.worlds import context, descriptor

PIXELS = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: True)


@pytest.mark.usefixtures("bfloat16")
def test_descriptors_and_gradients_point_the_same_way() -> None:
    by = descriptor()
    quick = quick_passes(by)
    assert quick is not by
    found = []
    for describe in (by, quick):
        pixels = PIXELS.clone().requires_grad_(True)
        described = describe(pixels)
        assert described.dtype == torch.float32
        assert described.norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
        (gradient,) = torch.autograd.grad(described[:, 0].sum(), pixels)
        found.append((described.detach(), gradient.flatten(1)))
    for exact, rounded in zip(*found, strict=True):
        assert not torch.equal(exact, rounded)
        assert F.cosine_similarity(exact, rounded).min() > 0.995


@pytest.mark.usefixtures("bfloat16")
def test_the_descriptor_stays_as_it_was() -> None:
    by = descriptor()
    before, fingerprint = by(PIXELS), by.fingerprint
    quick_passes(by)(PIXELS)
    assert torch.equal(by(PIXELS), before)
    assert by.fingerprint == fingerprint


@pytest.mark.usefixtures("bfloat16")
def test_one_copy_serves_a_whole_run() -> None:
    shared = context()
    assert shared.quick is shared.quick


@pytest.mark.usefixtures("bfloat16")
def test_torchscript_keeps_its_own_numbers() -> None:
    by = descriptor()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own: files of others are TorchScript
        by.network = torch.jit.trace(by.network, torch.zeros(1, 3, 16, 16), check_trace=False)
    assert quick_passes(by) is by


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16", True), ("fpu avx512f avx2 avx512_bf16x", False)],
)
def test_the_processor_says_what_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(module, "PROCESSOR", told)
    multiplies_bfloat16.cache_clear()
    try:
        assert multiplies_bfloat16() is expected
        told.unlink()
        multiplies_bfloat16.cache_clear()
        assert not multiplies_bfloat16()
        by = descriptor()
        assert quick_passes(by) is by
    finally:
        multiplies_bfloat16.cache_clear()
