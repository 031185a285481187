from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from active_indexing.descriptors import postprocessing
from active_indexing.descriptors.postprocessing import (
    Postprocessing,
    fit_postprocessing,
    load_postprocessing,
    postprocessing_path,
    save_postprocessing,
)


def vectors(count: int = 500, dim: int = 6, seed: int = 0) -> np.ndarray:
    """Unit vectors around a common direction, with directions of very different variance."""
    rng = np.random.default_rng(seed)
    raw = 2 + rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def fitted(dim: int | None = None, power: float = 0.5, data: np.ndarray | None = None) -> Postprocessing:
    return fit_postprocessing(
        vectors() if data is None else data, descriptor="some fingerprint", dim=dim, power=power
    )


def before_normalisation(post: Postprocessing, data: np.ndarray) -> np.ndarray:
    return (data - post.mean.numpy()) @ post.projection.numpy().T


def test_four_points_on_two_axes_are_whitened_by_hand() -> None:
    points = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], np.float32)  # variances 4.5 and 0.5
    post = fitted(data=points)
    expected = np.diag([4.5**-0.5, 0.5**-0.5])
    np.testing.assert_allclose(post.projection.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(post.apply_to(points), np.sign(points), atol=1e-6)


def test_whitened_vectors_have_unit_covariance_and_zero_mean() -> None:
    white = before_normalisation(fitted(), vectors())
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(6), atol=1e-3)


def test_power_zero_with_all_dimensions_is_centring_alone() -> None:
    data = vectors()
    rotated = before_normalisation(fitted(power=0), data)
    centred = data - data.mean(axis=0)
    np.testing.assert_allclose(rotated @ rotated.T, centred @ centred.T, atol=1e-5)


@given(st.integers(1, 6), st.sampled_from([0.0, 0.25, 0.5]))
@settings(max_examples=10, deadline=None)
def test_fewer_dimensions_are_the_first_of_all(dim: int, power: float) -> None:
    few, everything = fitted(dim, power), fitted(None, power)
    assert torch.equal(few.projection, everything.projection[:dim])
    assert np.linalg.norm(few.apply_to(vectors(50, seed=1)), axis=1) == pytest.approx(1)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_fewer_vectors_than_dimensions_give_the_directions_they_have(power: float) -> None:
    # 5 vectors of 6 values differ in 4 directions: an oracle by singular values instead of the covariance.
    data = vectors(5)
    few = fitted(4, power, data=data)
    centred = (data - data.mean(axis=0)).astype(np.float64)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    rotated = centred @ directions[:4].T / (values[:4] / 5**0.5) ** (2 * power)
    expected = rotated / np.linalg.norm(rotated, axis=1, keepdims=True)
    np.testing.assert_allclose(few.apply_to(data) @ few.apply_to(data).T, expected @ expected.T, atol=1e-4)


def test_chunks_do_not_change_the_fit_or_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted()
    expected = whole.apply_to(vectors())
    monkeypatch.setattr(postprocessing, "CHUNK", 37)
    torch.testing.assert_close(fitted().projection, whole.projection, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole.apply_to(vectors()), expected, atol=1e-6)


def test_arrays_and_tensors_give_the_same_and_gradients_pass() -> None:
    post = fitted(4)
    tensor = torch.from_numpy(vectors(5, seed=2)).requires_grad_(True)
    result = post(tensor)
    np.testing.assert_allclose(result.detach().numpy(), post.apply_to(vectors(5, seed=2)), atol=1e-6)
    result[:, 0].sum().backward()
    assert tensor.grad is not None
    assert (tensor.grad != 0).any()


def test_the_file_holds_everything(tmp_path: Path) -> None:
    post = fitted(3)
    path = postprocessing_path(tmp_path / "net.pt")
    save_postprocessing(post, path)
    loaded = load_postprocessing(path)
    assert path.name == "net.pt.postprocessing.npz"
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.with_suffix(".json").name, path.name]
    assert (loaded.descriptor, loaded.vectors, loaded.power) == ("some fingerprint", 500, 0.5)
    assert (loaded.name, loaded.fingerprint) == ("whiten3", post.fingerprint)


def test_the_fingerprint_follows_the_numbers() -> None:
    assert fitted().fingerprint == fitted().fingerprint
    assert fitted().fingerprint != fitted(data=vectors(seed=3)).fingerprint
    assert fitted(power=0).name == "pca6"


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    save_postprocessing(fitted(3), tmp_path / "a.npz")
    save_postprocessing(fitted(4), tmp_path / "b.npz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "b.npz").read_bytes())
    with pytest.raises(ValueError, match=r"do not belong together.*fit it again, or remove both"):
        load_postprocessing(tmp_path / "a.npz")
    (tmp_path / "b.json").unlink()
    with pytest.raises(ValueError, match=r"can't be read with b\.json beside it"):
        load_postprocessing(tmp_path / "b.npz")


def test_what_can_not_be_fitted_says_why() -> None:
    with pytest.raises(ValueError, match="needs more than 6 descriptors, got 6"):
        fitted(data=vectors(6))
    with pytest.raises(ValueError, match="fitting 4 directions needs more than 4 descriptors, got 4"):
        fitted(4, data=vectors(4))
    with pytest.raises(ValueError, match="to 7 dimensions needs descriptors of at least as many, got 6"):
        fitted(7)
    broken = vectors()
    broken[3, 2] = np.nan
    with pytest.raises(ValueError, match="are not finite; extract them again"):
        fitted(data=broken)
    flat = vectors()
    flat[:, 4:] = 0
    with pytest.raises(ValueError, match="vary in 4 directions only, 6 were asked for; pass dim=4"):
        fitted(data=flat)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fitted for D=6 got vectors of shape \(5, 4\)"):
        fitted().apply_to(vectors(5, 4))
