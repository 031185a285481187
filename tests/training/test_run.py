import json
import math
from dataclasses import replace

import pytest
import torch

from active_indexing.descriptors.weights.checkpoints import read_checkpoint
from active_indexing.descriptors.weights.descriptor_file import parse_descriptor_file
from active_indexing.training.config import TrainingConfig, TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
from active_indexing.training.objectives.contrastive import LossConfig
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.objectives.sscd import SSCDConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage
from active_indexing.training.run import TrainingRun, run
from active_indexing.training.trainer import build_trainer, train, train_step
from tests.training.images import write_folder

SMALL = TrainingConfig(
    dim=16,
    edits="strong_blur",
    edited_views=1,
    sizes=(SizeStage(0, 16), SizeStage(3, 24)),
    test_size=24,
    schedule=Schedule(steps=6, warmup_steps=2),
    objective=SSCDConfig(loss=LossConfig(entropy_weight=1.0, entropy_ramp_steps=4, asymmetric=True)),
    half_precision=False,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("training") / "images", count=48)


@pytest.fixture(scope="module")
def batches(images, tmp_path_factory):
    banks = open_banks((TrainingImages(images, 24, 16),), tmp_path_factory.mktemp("banks"))
    return Batches(banks, [16], seed=0)


def weights_of(trainer):
    return torch.cat([value.double().flatten() for value in trainer.network.state_dict().values()])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "lars", "learning_rate": 20.0, "clip_norm": 0.0},
        {"objective": SSCDConfig(loss=LossConfig(entropy_weight=1.0), mixing=MixingConfig(probability=0.5))},
    ],
    ids=["adamw", "lars", "mixing"],
)
def test_the_loss_falls_in_a_few_steps_on_made_up_images(batches, change):
    schedule = Schedule(steps=100)
    config = replace(SMALL, schedule=schedule, sizes=(SizeStage(0, 16),), **change)
    trainer = build_trainer(config, torch.device("cpu"))
    same = batches.at(0)
    losses = [train_step(trainer, same)["InfoNCE"] for _ in range(12)]
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses[-3:]) / 3 < 0.8 * losses[0]


def test_a_resumed_training_has_the_same_weights_to_the_bit(batches, tmp_path):
    whole = build_trainer(SMALL, torch.device("cpu"))
    for _ in train(whole, batches):
        pass
    first = build_trainer(SMALL, torch.device("cpu"))
    for _ in train(first, batches):
        if first.step == 4:
            break
    first.save(tmp_path / "checkpoint.pt")
    second = build_trainer(replace(SMALL), torch.device("cpu"))
    second.resume(tmp_path / "checkpoint.pt")
    assert second.step == 4
    for _ in train(second, batches):
        pass
    assert torch.equal(weights_of(second), weights_of(whole))
    for key, value in whole.average.state.items():
        assert torch.equal(second.average.state[key], value)


# recipe_fingerprint() of the program that wrote format 1 (commit e79552c), for the settings of SMALL.
FIRST_FORMAT_RECIPE = "fde12570117bbcba5c583891437c2287f52c72a04f740a130d501c3c7f5e5876"


def test_a_checkpoint_of_the_first_format_goes_on(tmp_path):
    path = tmp_path / "checkpoint.pt"
    trainer = build_trainer(SMALL, torch.device("cpu"))
    trainer.step = 3
    trainer.save(path)
    content = torch.load(path, weights_only=True)
    assert content.pop("objective") == {}
    content |= {"format": "active_indexing.training/1", "recipe": FIRST_FORMAT_RECIPE}
    torch.save(content, path)
    second = build_trainer(SMALL, torch.device("cpu"))
    second.resume(path)
    assert second.step == 3
    with pytest.raises(ValueError, match="was written with other settings"):
        build_trainer(replace(SMALL, sync_bn=True), torch.device("cpu")).resume(path)


def test_a_checkpoint_of_other_settings_or_damaged_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    build_trainer(SMALL, torch.device("cpu")).save(path)
    longer = replace(SMALL, schedule=Schedule(steps=9))
    build_trainer(longer, torch.device("cpu")).resume(path)
    with pytest.raises(ValueError, match="was written with other settings"):
        build_trainer(replace(SMALL, seed=1), torch.device("cpu")).resume(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="can't be read; delete it to start the training again"):
        build_trainer(SMALL, torch.device("cpu")).resume(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is no training checkpoint of format"):
        build_trainer(SMALL, torch.device("cpu")).resume(path)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """Output of a whole run of one process."""
    out = tmp_path_factory.mktemp("run")
    held_out = TrainingImages(images, 24, 1, limit=12)
    settings = TrainingRun(
        output_dir=out, sources=(TrainingImages(images, 24, 16),), validation=held_out, log_steps=2
    )
    run(SMALL, settings)
    return out, settings


def test_a_run_exports_the_averaged_weights_as_a_descriptor(finished):
    out, _ = finished
    path = out / "descriptor.pt"
    network, head, preprocessing = parse_descriptor_file(read_checkpoint(path), path)
    average = torch.load(out / "checkpoint.pt", weights_only=True)["average"]
    assert (head.backbone, head.dim, preprocessing.size) == ("resnet10", 16, 24)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, average[key], rtol=1e-3, atol=1e-6)


def test_a_run_logs_its_losses_and_its_validation(finished):
    lines = [json.loads(line) for line in (finished[0] / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 6]
    assert {"loss", "InfoNCE", "entropy", "learning_rate", "views_per_second"} <= lines[0].keys()
    assert 0 <= lines[-1]["val_uAP"] <= lines[-1]["val_R@1"] <= 1


def test_the_same_run_again_only_exports_again(finished):
    out, settings = finished
    before = (out / "checkpoint.pt").read_bytes()
    (out / "descriptor.pt").unlink()
    run(SMALL, settings)
    assert (out / "descriptor.pt").exists()
    assert (out / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"edits": "none"},
            "unknown edits 'none'; expected one of drawn, chained, simclr, strong_blur, advanced",
        ),
        ({"edited_views": 0}, "at least 1 edited view"),
        ({"sizes": (SizeStage(5, 64),)}, r"must start at step 0 .* got starts \[5\]"),
    ],
)
def test_settings_that_contradict_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **setting)


def test_mixed_views_have_no_reference_view():
    with pytest.raises(ValueError, match="mixed views have no reference view"):
        SSCDConfig(loss=LossConfig(asymmetric=True), mixing=MixingConfig())
