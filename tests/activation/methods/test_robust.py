from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from active_indexing.activation.interface import ActivationJob, ActivationResult, Step
from active_indexing.activation.methods.registry import activation_method
from active_indexing.activation.methods.robust import robust
from active_indexing.activation.perturbation.scaling import perturbed, strength_for_psnr
from active_indexing.activation.perturbation.steps import unit_rms
from tests.activation.worlds import QUICK, context, described, descriptor, index_of, job, picture


def levels(result: ActivationResult) -> np.ndarray:
    """(H, W, 3) change in grey levels, as the method made it."""
    return result.change.at(1.0, slice(None)).astype(int)


def same(one: ActivationResult, other: ActivationResult) -> bool:
    return np.array_equal(levels(one), levels(other)) and np.array_equal(one.entry, other.entry)


def near(one: ActivationResult, other: ActivationResult) -> bool:
    """Equal but for the order of sums in batches of another size."""
    return (
        np.abs(levels(one) - levels(other)).max() <= 1
        and np.abs(one.entry - other.entry).max() < 1e-3
        and one.psnr == pytest.approx(other.psnr, abs=1e-4)
        and one.notes == other.notes
    )


def results(jobs: Sequence[ActivationJob], **settings: object) -> list[ActivationResult]:
    return robust(jobs, context(**settings))  # type: ignore[arg-type]


TASKS = [job(picture(seed, 40 + seed, 60 - 5 * seed), seed) for seed in range(3)]


def test_an_unknown_method_lists_the_known_ones() -> None:
    assert activation_method("robust").move is robust
    assert activation_method("published").move is not robust
    with pytest.raises(ValueError, match="unknown method 'magic'; choose one of perceptual, robust, pub"):
        activation_method("magic")


@pytest.mark.parametrize("decibels", [32.0, 38.0, 46.0])
def test_the_budget_is_never_exceeded_and_is_the_users(decibels: float) -> None:
    """Seen from the log: no step's perturbation is above the budget, and the last ones use it."""
    seen: list[tuple[int, Step]] = []
    config = replace(QUICK, psnr=decibels, iterations=8)
    found = results(TASKS, config=config, on_step=lambda image, step: seen.append((image, step)))
    for number, result in enumerate(found):
        assert result.psnr == pytest.approx(decibels, abs=1e-3)
        told = [step.psnr for image, step in seen if image == number]
        assert len(told) == 8
        assert told[0] == float("inf")  # it starts at the image itself
        # Clipping can only make what shows smaller than the perturbation, and by little in these pictures.
        assert min(told) > decibels - 0.5
        view = TASKS[number].srgb
        shown = 10 * np.log10(
            255**2 / np.square(perturbed(view, result.change, 1.0) - view.astype(float)).mean()
        )
        assert decibels - 1 < shown < decibels + 6


def test_a_strength_is_a_quality_and_decibels_to_start_from() -> None:
    (result,) = results(TASKS[:1], config=replace(QUICK, strength="gentle"))
    assert result.quality == 90
    assert result.psnr == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize("resize", ["square", "short_edge"])
@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ4_8,IVF8,PQ4x4np"])
def test_an_image_gets_what_it_would_get_alone(resize: str, factory: str) -> None:
    by, index = descriptor(resize), index_of(factory)  # type: ignore[arg-type]
    jobs = [
        job(picture(seed, 40, 60), seed, by=by)  # short edges make them one group
        for seed in range(3)
    ] + [job(picture(3, 60, 25), 3, by=by)]
    together = results(jobs, index=index, resize=resize)
    backwards = results(jobs[::-1], index=index, resize=resize)[::-1]
    for each, found, turned in zip(jobs, together, backwards, strict=True):
        (alone,) = results([each], index=index, resize=resize)
        assert near(found, alone)
        assert near(turned, alone)
        assert levels(alone).shape == each.srgb.shape


def test_the_seed_decides_and_nothing_global_does() -> None:
    (first,) = results(TASKS[:1])
    torch.manual_seed(99)
    np.random.seed(99)
    assert same(first, results(TASKS[:1])[0])
    assert not same(first, results(TASKS[:1], seed=1)[0])
    other_id = replace(TASKS[0], image_id=7)
    assert not same(first, results([other_id])[0])


@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ4_8,IVF8,PQ4x4np", "PQ4x4np", "Flat"])
def test_the_loss_goes_down(factory: str) -> None:
    seen: list[Step] = []
    config = replace(QUICK, iterations=12, views=0, psnr=34.0)
    results(TASKS[:1], config=config, index=index_of(factory), on_step=lambda _, step: seen.append(step))
    assert seen[-1].loss < seen[0].loss


def test_a_step_tells_what_it_saw() -> None:
    seen: list[tuple[int, Step]] = []
    results(TASKS, on_step=lambda image, step: seen.append((image, step)))
    for number in range(3):
        steps = [step for image, step in seen if image == number]
        assert [step.gd_it for step in steps] == [0, 1, 2, 3]
        assert steps[0].loss_i == steps[0].linf == 0
        assert steps[1].linf > 0
        rates = [step.lr for step in steps]
        assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("metric", ["L2", "IP"])
@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ4_8,IVF8,PQ4x4np", "PCAR4,IVF8,Flat"])
def test_the_entry_lies_in_the_cell_that_was_aimed_at(factory: str, metric: str) -> None:
    """Without random edits the aim is the code of the image itself, and its cell the image's."""
    index = index_of(factory, metric)
    config = replace(QUICK, entry_views=0, views=1)
    for each, result in zip(TASKS, results(TASKS, index=index, config=config), strict=True):
        assert index.cells(result.entry[None]) == index.cells(each.original[None])


@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ4_8,IVF8,PQ4x4np"])
def test_released_and_edited_copies_are_pulled_into_the_cell_of_the_entry(factory: str) -> None:
    index = index_of(factory)
    config = replace(QUICK, iterations=15, views=3, psnr=28.0)
    homes, before, after = [], [], []
    for each, result in zip(TASKS, results(TASKS, index=index, config=config), strict=True):
        strength, _ = strength_for_psnr(each.srgb, result.change, 28.0)
        moved = perturbed(each.srgb, result.change, strength)
        homes.append(result.entry)
        before.append(each.original)
        after.append(described(moved, descriptor()))
    entries = index.cells(np.stack(homes))
    cells = [index.cells(np.stack(rows)) for rows in (before, after)]
    assert (cells[1] == entries).sum() >= (cells[0] == entries).sum()
    closer = np.linalg.norm(np.stack(after) - homes, axis=1) - np.linalg.norm(
        np.stack(before) - homes, axis=1
    )
    assert closer.mean() < 0


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_entries_are_means_that_are_unit_vectors_for_inner_products_only(metric: str) -> None:
    lengths = [np.linalg.norm(each.entry) for each in results(TASKS, index=index_of("Flat", metric))]
    assert all(length <= 1 + 1e-5 for length in lengths)
    assert (max(np.abs(np.array(lengths) - 1)) < 1e-5) == (metric == "IP")


@pytest.mark.parametrize("entries", [0, 3, 200])
@pytest.mark.parametrize(
    "factory", ["Flat", "PQ4x4np", "PCA4,LSH", "HNSW8", "PCA4,Flat", "PCAW4,IVF8,PQ4x4np", "IVF8,PQ4x4np"]
)
def test_any_index_works_empty_or_full(factory: str, entries: int) -> None:
    index = index_of(factory, entries=entries)
    held, has_cells = index.ntotal, index.cell_geometry() is not None
    for result in results(TASKS[:2], index=index, config=replace(QUICK, iterations=2)):
        assert np.isfinite(result.entry).all()
        assert result.entry.shape == (8,)
        assert result.entry.dtype == np.float32
        assert levels(result).any()
        if not entries and not has_cells:  # there is nothing that it could be mistaken for
            assert not any("nearest to its entry" in note for note in result.notes)
    assert index.ntotal == held


@pytest.mark.parametrize("views", [0, 1])
@pytest.mark.parametrize("entry_views", [0, 1])
def test_every_number_of_views_works(views: int, entry_views: int) -> None:
    for result in results(TASKS, config=replace(QUICK, views=views, entry_views=entry_views)):
        assert np.isfinite(result.entry).all()
        assert levels(result).any()


def flat(level: int, height: int = 30, width: int = 20) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


@pytest.mark.parametrize("resize", ["square", "short_edge"])
@pytest.mark.parametrize(
    "view",
    [flat(0), flat(127), flat(255), flat(9, 1, 1), picture(0, 1, 500), picture(0, 500, 1), picture(0, 5, 3)],
    ids=["black", "grey", "white", "1x1", "1x500", "500x1", "5x3"],
)
def test_flat_and_tiny_images_survive(view: np.ndarray, resize: str) -> None:
    by = descriptor(resize)  # type: ignore[arg-type]
    (result,) = results([job(view, by=by)], resize=resize, config=replace(QUICK, iterations=2))
    assert np.isfinite(result.entry).all()
    assert result.psnr is not None
    assert np.isfinite(result.psnr)
    assert levels(result).shape == view.shape
    if (view == view[0, 0]).all():
        assert result.psnr > 42.1
        assert any(note.startswith("hard to protect: nearly flat, so it is changed") for note in result.notes)


def test_a_textured_image_has_no_note_of_flatness() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    (result,) = results([job(noise)])
    assert not any("flat" in note for note in result.notes)


def test_pixels_that_nobody_sees_neither_help_nor_count() -> None:
    view, alpha = picture(4, 48, 48), np.full((48, 48), 255, np.uint8)
    alpha[:, 24:] = 0
    (half,), (whole,) = results([job(view, alpha=alpha)]), results([job(view)])
    hidden, seen = np.abs(levels(half)[:, 28:]).mean(), np.abs(levels(half)[:, :20]).mean()
    assert hidden < 0.3 * seen
    assert not same(half, whole)


def test_an_image_of_which_nothing_shows_survives() -> None:
    (result,) = results([job(picture(4), alpha=np.zeros((40, 30), np.uint8))])
    assert np.isfinite(result.entry).all()
    assert np.isfinite(levels(result)).all()


def test_an_out_of_memory_halves_the_batch_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU whose memory holds two images of this size."""
    jobs, largest = [job(picture(seed, 40, 40), seed) for seed in range(5)], []
    apply = F.grid_sample

    def limited(pixels: torch.Tensor, *rest: object, **more: object) -> torch.Tensor:
        if len(pixels) > 2 * 4:  # four edits of two images
            raise torch.OutOfMemoryError("out of memory")
        largest.append(len(pixels))
        return apply(pixels, *rest, **more)  # type: ignore[arg-type]

    alone = [results([each])[0] for each in jobs]
    monkeypatch.setattr(F, "grid_sample", limited)
    assert all(near(*pair) for pair in zip(results(jobs), alone, strict=True))
    assert max(largest) == 8
    monkeypatch.setattr(F, "grid_sample", lambda *_, **__: limited(torch.zeros(9)))
    with pytest.raises(torch.OutOfMemoryError):
        results(jobs[:1])


def test_unit_rms_scales_each_to_one_and_leaves_nothing_at_nothing() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-0.001, 0.001]])
    found = unit_rms(vectors)
    assert found.square().mean(dim=1).tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert torch.allclose(found[0], vectors[0] / (12.5**0.5))
