from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from active_indexing.config import STAGES, RunConfig, configure

FOLDERS = {"data_dir": "photos", "output_dir": "out"}


def test_settings_find_their_stage() -> None:
    config = configure(**FOLDERS, iterations=3, quant="IP", resize_size=32, kneighbors=5, active=False)
    assert config.activation.iterations == 3
    assert config.index.quant == "IP"
    assert config.descriptor.resize_size == 32
    assert config.evaluation.kneighbors == 5
    assert config.active is False
    assert config.data_dir == Path("photos")


def test_without_settings_everything_has_its_default() -> None:
    assert configure(**FOLDERS) == RunConfig(data_dir=Path("photos"), output_dir=Path("out"))


def test_a_configuration_survives_json() -> None:
    config = configure(
        **FOLDERS, fts_training_path=Path("a/fts.npy"), model_name="torchscript", workers=0, scaling=2.5
    )
    assert configure(**json.loads(json.dumps(config.settings()))) == config


def test_every_setting_has_one_name_in_all_stages() -> None:
    names = [field.name for kind in (RunConfig, *STAGES.values()) for field in fields(kind)]
    assert len(names) == len(set(names))


def test_the_published_defaults_are_the_defaults() -> None:
    # reference: table of flags of the published program; what differs is said in config.py
    published = {
        "seed": 0, "batch_size": 16, "batch_size_eval": 128, "idx_dir": "indexes", "quant": "L2",
        "kneighbors": 100, "optimizer": "Adam,lr=1e-0", "scheduler": "none",
        "target": "pq_recons", "loss_f": "cossim", "lambda_f": 1.0, "lambda_i": 1e-2, "use_attenuation": True,
        "scaling": 3.0, "scale_channels": True, "use_tanh": True, "use_attacks_2": False,
        "eval_retrieval": True, "eval_icd": True, "active": True, "save_imgs": True, "debug": False,
        "verbose": 1, "save_format": "png",
    }  # fmt: skip
    assert configure(**FOLDERS).settings().items() >= published.items()


@pytest.mark.parametrize(
    ("setting", "quality"),
    [({}, None), ({"psnr": 44.5}, None), ({"strength": "gentle"}, 90), ({"strength": "standard"}, 80),
     ({"strength": "strong"}, 70)],
    ids=str,
)  # fmt: skip
def test_a_strength_is_a_quality_that_is_seen(setting: dict[str, Any], quality: float | None) -> None:
    assert configure(**FOLDERS, **setting).activation.quality == quality


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_size": 0}, "--batch_size must be at least 1, got 0"),
        ({"seed": -1}, "--seed must be at least 0, got -1"),
        ({"seed": 2**70}, "--seed must be at most 18,446,744,073,709,551,615, got 1,180,591,620"),
        ({"batch_size": 10**12}, "--batch_size must be at most 1,000,000, got 1,000,000,000,000"),
        ({"workers": 10**6}, "--workers must be at most 1,024, got 1,000,000"),
        ({"log_freq": -1}, "--log_freq must be at least 0"),
        ({"workers": -1}, "--workers must be at least 0, got -1"),
        ({"existing": "fail"}, "--existing must be one of resume, overwrite, got 'fail'"),
        ({"save_format": "gif"}, "--save_format must be one of png, jpeg, webp, same, got 'gif'"),
        ({"save_format": "jpeg", "save_quality": 0}, "--save_quality must be from 1 to 100, got 0"),
        ({"save_format": "same", "save_quality": 101}, "--save_quality must be from 1 to 100, got 101"),
        ({"save_quality": 90}, "--save_quality is for JPEG and WebP, and --save_format png is lossless"),
        ({"resize_size": 0}, "--resize_size must be at least 1"),
        ({"resize_size": 60_000}, "--resize_size must be at most 4,096, got 60,000"),
        ({"quant": "cosine"}, "--quant must be one of L2, IP, got 'cosine'"),
        ({"nprobe": 0}, "--nprobe must be at least 1"),
        ({"entries": 0}, "--entries must be from 1 to 16, got 0"),
        ({"entries": 17}, "--entries must be from 1 to 16, got 17"),
        ({"iterations": 0}, "--iterations must be at least 1"),
        ({"iterations": 10**9}, "--iterations must be at most 100,000, got 1,000,000,000"),
        ({"views": 10**9}, "--views must be at most 4,096"),
        ({"entry_views": 10**9}, "--entry_views must be at most 4,096"),
        ({"views": -1}, "--views must be at least 0, got -1"),
        ({"entry_views": -1}, "--entry_views must be at least 0, got -1"),
        ({"psnr": 19.9}, "--psnr must be from 20 to 60 dB, got 19.9"),
        ({"psnr": 61.0}, "--psnr must be from 20 to 60 dB, got 61.0"),
        ({"psnr": float("nan")}, "--psnr must be from 20 to 60 dB, got nan"),
        ({"strength": "brutal"}, "--strength must be one of gentle, standard, strong, got 'brutal'"),
        ({"psnr": 42.0, "strength": "gentle"}, "--psnr and --strength say the same thing; give one of them"),
        ({"loss_f": "l1"}, "--loss_f must be one of cossim, l2, got 'l1'"),
        ({"scaling": 0.0}, "--scaling must be positive, got 0.0"),
        ({"scaling": float("nan")}, "--scaling must be a finite number, got nan"),
        ({"lambda_f": float("inf")}, "--lambda_f must be a finite number, got inf"),
        ({"resize": "fit"}, "--resize must be one of square, short_edge, long_edge, got 'fit'"),
        ({"loss_batch": 0}, "--loss_batch must be at least 1, got 0"),
        ({"lambda_i": float("nan")}, "--lambda_i must be a finite number, got nan"),
        ({"lambda_f": 1e300}, r"--lambda_f must be a finite number, got 1e\+300 \(at most 1e\+38\)"),
        ({"kneighbors": 10**12}, "--kneighbors must be at most 100,000, got 1,000,000,000,000"),
        ({"batch_size_eval": 10**18}, "--batch_size_eval must be at most 100,000"),
        ({"kneighbors": 0}, "--kneighbors must be at least 1"),
        ({"batch_size_eval": 0}, "--batch_size_eval must be at least 1"),
        ({"eval_sample": 0}, "--eval_sample must be at least 1, got 0"),
        ({"eval_sample": "-3"}, "--eval_sample must be a number, all or none, got '-3'"),
        ({"eval_views": "some"}, "--eval_views must be a number, all or none, got 'some'"),
        ({"eval_sample": "some"}, "--eval_sample must be a number, all or none, got 'some'"),
    ],
)
def test_a_value_out_of_its_range_is_an_error(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configure(**FOLDERS, **setting)


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(TypeError, match="unknown settings: iteration, lr; they are named like the flags"):
        configure(**FOLDERS, iteration=3, lr=1.0)
    with pytest.raises(TypeError, match="output_dir"):
        configure(data_dir="photos")
    with pytest.raises(TypeError, match="unknown settings: index"):
        configure(**FOLDERS, index={})


def test_a_picture_in_place_of_a_path_is_an_error() -> None:
    with pytest.raises(
        TypeError, match="data_dir must be the path of a file or folder, got a bytearray: save"
    ):
        configure(data_dir=bytearray(3), output_dir="out")
    assert configure(data_dir="a", output_dir="b", idx_dir=Path("c"), model_path=None).index.idx_dir == Path(
        "c"
    )
