from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.entries import ENTRY_EDITS, EntryEdit, described_edits, parameters
from active_indexing.activation.interface import ActivationContext
from active_indexing.activation.transformations import transformed
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.index.config import MOST_ENTRIES
from active_indexing.index.vector_index import new_index
from tests.conftest import Toy, pattern

SIZE = 32


@pytest.fixture(scope="module")
def context(toy: Toy) -> ActivationContext:
    config = DescriptorConfig(model_name="torchscript", model_path=toy.model, resize_size=toy.size)
    return ActivationContext(
        load_descriptor(config, torch.device("cpu")), new_index("Flat", "L2", 64), ActivationConfig()
    )


@pytest.fixture(scope="module")
def view() -> np.ndarray:
    return pattern(np.random.default_rng(5), 60, 80)


def edited(edit: EntryEdit) -> torch.Tensor:
    """A square picture, its left half black and its right half 0.75, with a bright top line, edited."""
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[..., SIZE // 2 :] = 0.75
    picture[..., :4, :] = 1.0
    return transformed(picture, parameters([edit], 1.0), (SIZE, SIZE))[0]


def test_there_are_as_many_edits_as_a_run_may_ask_for_and_no_two_are_the_same() -> None:
    assert len(ENTRY_EDITS) == MOST_ENTRIES - 1
    assert len({edit.name for edit in ENTRY_EDITS}) == len(ENTRY_EDITS)
    assert len({replace(edit, name="") for edit in ENTRY_EDITS}) == len(ENTRY_EDITS)


def test_an_edit_with_the_defaults_changes_nothing() -> None:
    plain = edited(EntryEdit("plain"))
    assert plain[:, 10, :].mean() == pytest.approx(0.375, abs=1e-5)
    assert plain[:, :4].min() == pytest.approx(1.0, abs=1e-5)


def test_geometry_goes_where_its_name_says() -> None:
    quarter = edited(EntryEdit("quarter", turn=90))  # the top line is on the left now
    assert quarter[:, :, :4].min() == pytest.approx(1.0, abs=1e-4)
    assert quarter[:, 20, 6:].mean() < 0.01 < 0.7 < quarter[:, 10, 6:].mean()
    mirrored = edited(EntryEdit("mirrored", mirror=True))
    assert mirrored[:, 10, 0].max() == pytest.approx(0.75, abs=1e-5)
    assert mirrored[:, 10, -1].max() == 0.0
    cropped = edited(EntryEdit("cropped", edge=0.5))
    assert cropped.max() == pytest.approx(0.75, abs=1e-5), "the top line is cut off"
    captioned = edited(EntryEdit("captioned", above=1.0, canvas=0.5))
    assert captioned[:, : SIZE // 2].sub(0.5).abs().max() < 1e-5
    assert captioned[:, -1, 0].max() == 0.0
    below = edited(EntryEdit("below", below=1.0, canvas=0.5))
    assert below[:, SIZE // 2 :].sub(0.5).abs().max() < 1e-5
    small = edited(EntryEdit("small", edge=2.0, canvas=0.25))
    assert small[:, :7].sub(0.25).abs().max() < 1e-5
    assert small[:, SIZE // 2, SIZE // 2 + 2].min() == pytest.approx(0.75, abs=1e-5)


def test_colours_go_where_their_names_say() -> None:
    plain = edited(EntryEdit("plain"))
    assert edited(EntryEdit("darker", brightness=0.5)) == pytest.approx(plain.numpy() / 2, abs=1e-5)
    flat = edited(EntryEdit("flat", contrast=0.5))
    assert float(flat.std()) == pytest.approx(float(plain.std()) / 2, rel=1e-3)
    assert edited(EntryEdit("hue", hue=0.3)) == pytest.approx(plain.numpy(), abs=0.01), "grey has no hue"


def test_a_descriptor_does_not_depend_on_the_other_edits(
    context: ActivationContext, view: np.ndarray
) -> None:
    together = described_edits(view, ENTRY_EDITS, context)
    assert together.dtype == np.float32
    assert together.shape == (15, 64)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(15), abs=1e-5)
    for count in (1, 3, 7):
        assert (described_edits(view, ENTRY_EDITS[:count], context) == together[:count]).all()
    assert (described_edits(view, ENTRY_EDITS, context) == together).all()
    apart = ((together[:, None] - together[None]) ** 2).sum(axis=2) + 9 * np.eye(15)
    assert apart.min() > 1e-4, "two edits give one entry"


def test_no_edits_give_no_descriptors(context: ActivationContext, view: np.ndarray) -> None:
    assert described_edits(view, (), context).shape == (0, 64)


def test_the_unedited_image_has_nearly_its_own_descriptor(
    context: ActivationContext, view: np.ndarray
) -> None:
    pixels = torch.from_numpy(view).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        own = context.descriptor(pixels)[0].numpy()
    assert float(described_edits(view, [EntryEdit("plain")], context)[0] @ own) > 0.97
