from __future__ import annotations

import pytest
import torch

from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.published import PUBLISHED, choose_published


def test_the_published_names_are_all_there() -> None:
    assert set(PUBLISHED) == {
        *(f"sscd_disc_{kind}" for kind in ("blur", "advanced", "mixup", "large")),
        *(f"sscd_imagenet_{kind}" for kind in ("blur", "advanced", "mixup")),
        *("dino_resnet50", "dino_vits16", "dino_vits8", "isc_ft_v107", "isc_selfsup_v98", "vit4icd"),
        *("dino_r50", "dino_vits", "isc_dt1"),
    }


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"vit4icd"}))
def test_a_bare_name_takes_the_first_file_and_preprocessing(name: str) -> None:
    choice = choose_published(name)
    assert choice is not None
    assert choice.file is not None
    assert choice.file.url.startswith("https://")
    assert choice.preprocessing == PUBLISHED[name].preprocessings[0]


@pytest.mark.parametrize(
    ("spelling", "url_end", "preprocessing"),
    [
        ("sscd_disc_mixup", "/sscd_disc_mixup.torchvision.pt", Preprocessing(288)),
        ("sscd_disc_large", "/sscd_disc_large.classy.pt", Preprocessing(288)),
        ("sscd_disc_blur.torchscript", "/sscd_disc_blur.torchscript.pt", Preprocessing(288)),
        ("sscd_imagenet_mixup@square320", "/sscd_imagenet_mixup.torchvision.pt", Preprocessing(320)),
        (
            "sscd_disc_mixup.classy@shortedge288",
            "/sscd_disc_mixup.classy.pt",
            Preprocessing(288, "short_edge"),
        ),
        (
            "isc_ft_v107",
            "/isc_ft_v107.pth.tar",
            Preprocessing(512, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        ),
        # The table of extractors in active_indexing's README: files of its own, seen like all of its files.
        ("dino_r50", "/active_indexing/dino_r50.torchscript.pt", Preprocessing(288)),
        ("dino_vits", "/active_indexing/dino_vits16.torchscript.pt", Preprocessing(288)),
        ("isc_dt1", "/active_indexing/isc1.torchscript.pt", Preprocessing(288)),
        ("dino_vits@square320", "/active_indexing/dino_vits16.torchscript.pt", Preprocessing(320)),
    ],
)
def test_layout_and_preprocessing_can_be_spelled(
    spelling: str, url_end: str, preprocessing: Preprocessing
) -> None:
    choice = choose_published(spelling)
    assert choice is not None
    assert choice.file is not None
    assert choice.file.url.endswith(url_end)
    assert choice.preprocessing == preprocessing


@pytest.mark.parametrize("name", ["resnet50", "vit_small_patch16_224.dino", "sscd", "", "a@b@c"])
def test_other_names_are_none_of_ours(name: str) -> None:
    assert choose_published(name) is None


def test_an_unpublished_layout_or_preprocessing_names_the_published_ones() -> None:
    with pytest.raises(ValueError, match="is published as classy, torchscript, not as 'torchvision'"):
        choose_published("sscd_disc_large.torchvision")
    with pytest.raises(
        ValueError, match=r"is used with square288, shortedge288, square320, not .*'square299'"
    ):
        choose_published("sscd_disc_mixup@square299")


def test_resnet50_has_the_320_entries_of_the_published_file() -> None:
    with torch.device("meta"):
        state = PUBLISHED["sscd_disc_mixup"].build().state_dict()
    assert len(state) == 320
    assert tuple(state["fc.weight"].shape) == (512, 2048)
    assert tuple(state["conv1.weight"].shape) == (64, 3, 7, 7)


def test_resnext101_has_the_group_width_of_the_published_file() -> None:
    with torch.device("meta"):
        state = PUBLISHED["sscd_disc_large"].build().state_dict()
    shapes = [tuple(state[f"layer{stage}.0.conv2.weight"].shape) for stage in (1, 2, 3, 4)]
    assert shapes == [(mid, mid // 32, 3, 3) for mid in (128, 256, 512, 1024)]
    assert tuple(state["fc.weight"].shape) == (1024, 2048)
