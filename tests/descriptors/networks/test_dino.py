from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from active_indexing.descriptors.networks.dino import build_dino, position_embedding


def cubic(distance: float) -> float:
    """Keys' kernel with a = -0.75, which torch's bicubic resize has."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def slow_line(values: np.ndarray, count: int) -> np.ndarray:
    """DINO's resize of (n, width) to (count, width): the scale is (count + 0.1) / n, edges are repeated."""
    side = len(values)
    lines = []
    for place in range(count):
        source = (place + 0.5) * side / (count + 0.1) - 0.5
        taps = range(int(np.floor(source)) - 1, int(np.floor(source)) + 3)
        lines.append(sum(cubic(source - tap) * values[min(max(tap, 0), side - 1)] for tap in taps))
    return np.array(lines)


@pytest.mark.parametrize(("rows", "columns"), [(18, 18), (20, 20), (9, 13), (7, 14)])
def test_positions_are_resampled_as_dino_does(rows: int, columns: int) -> None:
    trained = torch.randn(1, 1 + 14 * 14, 3, generator=torch.Generator().manual_seed(0))
    grid = trained[0, 1:].double().numpy().reshape(14, 14, 3)
    narrow = np.stack([slow_line(line, columns) for line in grid])
    expected = np.stack([slow_line(narrow[:, column], rows) for column in range(columns)], axis=1)
    found = position_embedding(trained, rows, columns)
    assert torch.equal(found[:, 0], trained[:, 0])
    np.testing.assert_allclose(found[0, 1:].numpy(), expected.reshape(-1, 3), atol=2e-5)


def test_the_trained_size_is_taken_as_it_is() -> None:
    trained = torch.randn(1, 1 + 14 * 14, 3)
    assert position_embedding(trained, 14, 14) is trained


def test_the_network_is_timms_where_nothing_is_resampled() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True).eval()
    ours = build_dino(16, 192, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(torch.ones(1, 3, 224, 224)), theirs(torch.ones(1, 3, 224, 224)))
        larger = torch.rand(1, 3, 288, 288)
        assert not torch.allclose(ours(larger), theirs(larger), atol=1e-6)
