"""Students that learn from teachers: steps, queues, checkpoints, export."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.weights.checkpoints import read_checkpoint
from active_indexing.descriptors.weights.descriptor_file import parse_descriptor_file
from active_indexing.training.config import TrainingConfig, TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
from active_indexing.training.objectives.contrastive import LossConfig, Views
from active_indexing.training.objectives.distillation import SimilarityDistillationConfig
from active_indexing.training.objectives.interface import StepViews
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.objectives.relational import RDCDConfig, TwoHeads, merged, two_views
from active_indexing.training.objectives.sscd import SSCDConfig
from active_indexing.training.objectives.teacher_bank import TeacherBankConfig
from active_indexing.training.objectives.teacher_rows import compressed, ridge_head
from active_indexing.training.optimization.schedules import Schedule, SizeStage
from active_indexing.training.recipes.registry import recipe
from active_indexing.training.run import TrainingRun, run
from active_indexing.training.teachers import load_teacher
from active_indexing.training.trainer import build_trainer, train, train_step
from tests.training.images import write_folder

CPU = torch.device("cpu")
DIM = 16
SMALL = TrainingConfig(
    dim=DIM,
    edits="simclr",
    edited_views=1,
    sizes=(SizeStage(0, 16),),
    test_size=16,
    schedule=Schedule(steps=5, warmup_steps=1),
    half_precision=False,
)
KD = SimilarityDistillationConfig(queue_rows=64)
OBJECTIVES = {
    "kd_icd": KD,
    "kd_icd with mixing and entropy": SimilarityDistillationConfig(
        loss=LossConfig(entropy_weight=1.0), mixing=MixingConfig(probability=0.5), queue_rows=50
    ),
    "rdcd": RDCDConfig(teacher_dim=DIM, queue_rows=48),
}


def teacher(pixels):
    """Mean colours of a 4 x 4 grid, turned: what an image looks like from afar."""
    seen = F.adaptive_avg_pool2d(pixels, 4).flatten(1)
    return (seen - 0.5) @ torch.randn(48, DIM, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("training") / "images", count=48)


@pytest.fixture(scope="module")
def batches(images, tmp_path_factory):
    return Batches(open_banks((TrainingImages(images, 24, 16),), tmp_path_factory.mktemp("b")), [16], seed=0)


def built(objective):
    return build_trainer(replace(SMALL, objective=objective), CPU, teacher=teacher)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls_in_a_few_steps(batches, name):
    config = replace(SMALL, objective=OBJECTIVES[name], schedule=Schedule(steps=100))
    trainer = build_trainer(config, CPU, teacher=teacher)
    same = batches.at(0)
    # Later queues hold the very images of the batch: judged by what the queue does not change.
    term = "InfoNCE" if "kd" in name else "relation"
    losses = [train_step(trainer, same)[term] for _ in range(14)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.85 * losses[0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_resumed_training_is_the_same_to_the_bit_with_queues_and_slow_networks(batches, tmp_path, name):
    whole = built(OBJECTIVES[name])
    for _ in train(whole, batches):
        pass
    first = built(OBJECTIVES[name])
    for _ in train(first, batches):
        if first.step == 3:
            break
    first.save(tmp_path / "checkpoint.pt")
    second = built(OBJECTIVES[name])
    second.resume(tmp_path / "checkpoint.pt")
    for _ in train(second, batches):
        pass
    for one, other in ((whole.network, second.network), (whole.objective, second.objective)):
        expected, actual = one.state_dict(), other.state_dict()
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_a_checkpoint_of_another_objective_is_refused(tmp_path):
    built(KD).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="was written with other settings"):
        built(replace(KD, weight=0.5)).resume(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="was written with other settings"):
        build_trainer(SMALL, CPU).resume(tmp_path / "checkpoint.pt")


def test_the_teachers_queue_holds_the_keys_of_earlier_steps_only_while_the_loss_is_made(batches):
    trainer = built(KD)
    before = trainer.objective.queue.features.clone()
    train_step(trainer, batches.at(0))
    assert int(trainer.objective.queue.position) == 32
    assert torch.equal(trainer.objective.queue.features[32:], before[32:])


def test_only_the_student_learns_and_the_slow_copy_follows_it(batches):
    trainer = built(RDCDConfig(teacher_dim=DIM, queue_rows=48, momentum=0.5))
    assert not any(parameter.requires_grad for parameter in trainer.objective.parameters())
    start = trainer.network.projector.weight.detach().clone()
    train_step(trainer, batches.at(0))
    moved = trainer.network.projector.weight.detach()
    assert not torch.equal(start, moved)
    torch.testing.assert_close(trainer.objective.slow.projector.weight, (start + moved) / 2)


def test_two_heads_become_one_network_with_the_same_descriptors():
    torch.manual_seed(0)
    network = RDCDConfig(teacher_dim=24).build_network("resnet10", 8, 3.0).eval()
    inputs = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        features, descriptors = network.heads(inputs)
        torch.testing.assert_close(merged(network)(inputs), descriptors, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(network(inputs), descriptors)
    assert (features.shape, descriptors.shape) == ((3, 24), (3, 8))
    with pytest.raises(ValueError, match="Flatten ends in no linear layer"):
        merged(TwoHeads(torch.nn.Flatten(), 24, 8))


def test_each_image_gives_two_views_in_one_order():
    views = Views(torch.tensor([5, 2, 5, 2, 2]), torch.ones(5, dtype=torch.bool), torch.arange(5))
    first, second = two_views(StepViews(torch.zeros(5, 3, 1, 1), views, 0, torch.Generator()))
    assert (first.tolist(), second.tolist()) == ([1, 0], [3, 2])
    lonely = Views(torch.tensor([5, 5, 9]), torch.ones(3, dtype=torch.bool), torch.arange(3))
    with pytest.raises(ValueError, match="image 9 has one view"):
        two_views(StepViews(torch.zeros(3, 3, 1, 1), lonely, 0, torch.Generator()))


@pytest.mark.parametrize(
    ("objective", "given", "message"),
    [
        (KD, None, "needs a teacher; give --teacher"),
        (RDCDConfig(), None, "needs a teacher; give --teacher"),
        (SSCDConfig(), teacher, "has no teacher; leave --teacher out"),
    ],
)
def test_a_teacher_is_there_exactly_where_it_is_needed(objective, given, message):
    with pytest.raises(ValueError, match=message):
        build_trainer(replace(SMALL, objective=objective), CPU, teacher=given)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (replace(KD), "gives 5 values per image and the student 16; pass --dim 5"),
        (RDCDConfig(teacher_dim=DIM, queue_rows=8), "teacher_dim is 16; pass --teacher_dim 5"),
    ],
)
def test_a_teacher_of_another_length_is_named(batches, objective, message):
    trainer = build_trainer(
        replace(SMALL, objective=objective), CPU, teacher=lambda pixels: pixels.flatten(1)[:, :5]
    )
    with pytest.raises(ValueError, match=message):
        train_step(trainer, batches.at(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimilarityDistillationConfig(temperature=0), "temperature must be above 0, got 0"),
        (lambda: SimilarityDistillationConfig(queue_rows=0), "at least 1 row, got 0"),
        (lambda: RDCDConfig(temperature=0.0), "temperatures must be above 0, got 0.04 and 0.0"),
        (lambda: RDCDConfig(momentum=1.0), r"must be in \[0, 1\), got 1.0"),
        (lambda: TeacherBankConfig(temperature=-1), "temperature of the bank must be above 0, got -1"),
        (lambda: TeacherBankConfig(rows=0), "at least 1 row of the bank, got 0"),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_published_recipes_have_the_published_settings():
    kd, rdcd = recipe("kd_icd"), recipe("rdcd")
    assert (kd.objective.temperature, kd.objective.weight, kd.objective.queue_rows) == (0.05, 0.1, 65_536)
    assert (kd.dim, kd.learning_rate, kd.objective.loss.entropy_weight) == (512, 0.3, 0.0)
    relation = rdcd.objective
    assert (relation.relation_temperature, relation.temperature, relation.momentum) == (0.04, 0.07, 0.99)
    assert (relation.hard_negative_weight, relation.queue_rows, relation.teacher_dim) == (5.0, 65_536, 512)
    assert (rdcd.optimizer, rdcd.learning_rate, rdcd.schedule.steps) == ("sgd", 1.0, 390_600)


def test_half_whitening_takes_the_fourth_root_of_the_variances_ratio():
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([4.0, 2.0, 1.0, 0.1])
    features = torch.randn(4000, 4, generator=generator) * scales + 7
    rows = compressed(features, 3)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4000))
    ratios = rows.abs().median(dim=0).values
    # Standard deviations 4, 2, 1 become their square roots 2, 1.41, 1.
    torch.testing.assert_close(ratios / ratios[2], torch.tensor([2.0, 2**0.5, 1.0]), rtol=0.1, atol=0)
    with pytest.raises(ValueError, match="gives 4 values per image, fewer than --dim 5"):
        compressed(features, 5)


def test_the_head_is_the_ridge_regression():
    generator = torch.Generator().manual_seed(0)
    features, truth = torch.randn(500, 6, generator=generator), torch.randn(3, 6, generator=generator)
    weight, bias = ridge_head(features, features @ truth.T + 2)
    torch.testing.assert_close(weight, truth, rtol=0.05, atol=0.03)
    torch.testing.assert_close(bias, torch.full((3,), 2.0), rtol=0, atol=0.01)


def test_a_bank_trains_from_a_started_network_and_goes_on_where_it_was(images, tmp_path):
    first = tmp_path / "first"
    plain = replace(SMALL, objective=SSCDConfig(loss=LossConfig(entropy_weight=0.0)))
    source = TrainingImages(images, 24, 16)
    start = run(plain, TrainingRun(output_dir=first, sources=(source,)))
    config = replace(SMALL, edits="drawn", objective=TeacherBankConfig(rows=20), dim=DIM)
    settings = TrainingRun(
        output_dir=tmp_path / "second",
        sources=(source,),
        teacher=DescriptorConfig(model_path=start),
        start=start,
    )
    made = run(config, settings)
    rows = np.load(tmp_path / "second" / "teacher_rows.npy")
    assert rows.shape == (48, DIM)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    network, head, _ = parse_descriptor_file(read_checkpoint(made), made)
    assert head.dim == DIM
    assert not torch.equal(
        network.fc.weight, parse_descriptor_file(read_checkpoint(start), start)[0].fc.weight
    )
    again = run(config, settings)
    assert torch.equal(parse_descriptor_file(read_checkpoint(again), again)[0].fc.weight, network.fc.weight)


def test_a_bank_without_teacher_and_a_start_of_another_kind_are_refused(images, tmp_path):
    source = TrainingImages(images, 24, 16)
    bank = replace(SMALL, objective=TeacherBankConfig())
    with pytest.raises(ValueError, match="learns from a teacher; give --teacher"):
        run(bank, TrainingRun(output_dir=tmp_path / "a", sources=(source,)))
    start = run(SMALL, TrainingRun(output_dir=tmp_path / "b", sources=(source,)))
    other = TrainingRun(output_dir=tmp_path / "c", sources=(source,), start=start)
    with pytest.raises(ValueError, match=r"is a resnet10 with 16 values .* trains a resnet10 with 8 values"):
        run(replace(SMALL, dim=8), other)


def test_rdcd_exports_one_descriptor_of_the_small_head(images, tmp_path):
    start = run(SMALL, TrainingRun(output_dir=tmp_path / "t", sources=(TrainingImages(images, 24, 16),)))
    settings = TrainingRun(
        output_dir=tmp_path / "out",
        sources=(TrainingImages(images, 24, 16),),
        teacher=DescriptorConfig(model_path=start),
    )
    made = run(replace(SMALL, dim=8, objective=OBJECTIVES["rdcd"]), settings)
    network, head, _ = parse_descriptor_file(read_checkpoint(made), made)
    assert (head.backbone, head.dim) == ("resnet10", 8)
    assert network.eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 8)


class FakeSession:
    """What onnxruntime gives: mean colours of a uint8 image."""

    kind, shape = "tensor(uint8)", ["batch", "height", "width", 3]

    def __init__(self, path, options, providers):
        self.sizes = []

    def get_inputs(self):
        return [SimpleNamespace(name="image", type=self.kind, shape=self.shape)]

    def run(self, outputs, feeds):
        (image,) = feeds.values()
        assert image.dtype == np.uint8
        self.sizes.append(image.shape)
        return [image.mean(axis=(1, 2)).astype(np.float32)]


def with_runtime(monkeypatch, session):
    runtime = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=session)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)


def test_an_onnx_teacher_sees_each_image_as_bytes_at_its_size(monkeypatch, tmp_path):
    with_runtime(monkeypatch, FakeSession)
    path = tmp_path / "sscd.onnx"
    path.write_bytes(b"x")
    onnx = load_teacher(DescriptorConfig(model_path=path, resize_size=20), CPU)
    pixels = torch.stack([torch.zeros(3, 30, 30), torch.full((3, 30, 30), 0.5)])
    assert onnx(pixels).tolist() == [[0, 0, 0], [128, 128, 128]]
    assert onnx._session.sizes == [(1, 20, 20, 3)] * 2


def test_onnx_files_that_are_absent_or_of_another_kind_are_named(monkeypatch, tmp_path):
    path = tmp_path / "sscd.onnx"
    with pytest.raises(FileNotFoundError, match="does not exist; check --teacher"):
        load_teacher(DescriptorConfig(model_path=path), CPU)
    path.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="run: pip install onnxruntime"):
        load_teacher(DescriptorConfig(model_path=path), CPU)

    class Other(FakeSession):
        kind = "tensor(int64)"

    with_runtime(monkeypatch, Other)
    with pytest.raises(ValueError, match=r"takes \[\('image', 'tensor\(int64\)'"):
        load_teacher(DescriptorConfig(model_path=path), CPU)
