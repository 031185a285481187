import pytest
import torch

from active_indexing.training.objectives.mixing import MixingConfig, mix_views, pairs_of_mixed

ALWAYS_BLEND = MixingConfig(probability=1.0, cutmix_probability=0.0)
ALWAYS_CUT = MixingConfig(probability=1.0, cutmix_probability=1.0)


def constant_views(values, size=16):
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, size, size).contiguous()


def mix(config, count=6, images=None):
    pixels = constant_views([float(i) for i in range(count)])
    images = torch.arange(count) if images is None else images
    mixed, labels = mix_views(pixels, images, config, torch.Generator().manual_seed(0))
    return pixels, mixed, labels


@pytest.mark.parametrize("config", [ALWAYS_BLEND, ALWAYS_CUT])
def test_the_soft_label_is_the_share_of_pixels_that_each_image_has(config):
    pixels, mixed, labels = mix(config)
    shares = labels @ torch.arange(6.0)  # view i shows the constant i
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), shares, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(6))
    assert ((labels > 0).sum(dim=1) == 2).any()
    assert not torch.equal(mixed, pixels)


def test_cutmix_keeps_whole_pixels_of_either_image():
    pixels, mixed, _ = mix(ALWAYS_CUT)
    assert bool(((mixed == pixels) | (mixed == pixels.flip(0))).all())


def test_nothing_is_mixed_at_probability_zero_and_the_input_is_never_changed():
    pixels, mixed, labels = mix(MixingConfig(probability=0.0))
    torch.testing.assert_close(mixed, pixels)
    torch.testing.assert_close(labels, torch.eye(6))
    assert torch.equal(mix(ALWAYS_CUT)[0], pixels)


def test_about_one_view_in_twenty_is_mixed_by_default():
    count = 2000
    _, labels = mix_views(
        torch.zeros(count, 3, 2, 2), torch.arange(count), MixingConfig(), torch.Generator().manual_seed(0)
    )
    # CutMix boxes of a 2x2 view are often empty, so only blends are counted: half of 5 %.
    share = ((labels > 0).sum(dim=1) > 1).float().mean().item()
    assert 0.015 < share < 0.06


def test_views_that_share_any_source_attract_and_other_processes_repel():
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]])
    pairs = pairs_of_mixed(labels, rank=1, world_size=2)
    assert pairs.positive.tolist() == [
        [False, False, False, False, True, False],
        [False, False, False, True, False, False],
        [False] * 6,
    ]
    assert pairs.negative.tolist() == [
        [True, True, True, False, False, True],
        [True, True, True, False, False, True],
        [True, True, True, True, True, False],
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"probability": 1.5}, r"mixing probability must be in \[0, 1\], got 1.5"),
        ({"alpha": 0.0}, "mixing alpha must be above 0, got 0.0"),
    ],
)
def test_mixing_settings_without_meaning_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        MixingConfig(**setting)
