"""Every term of a distillation against its formula, one pair at a time."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.training.objectives.distillation import similarity_distillation
from active_indexing.training.objectives.momentum import follow, hard_negative_term, momentum_contrast
from active_indexing.training.objectives.queues import NOBODY, FeatureQueue
from active_indexing.training.objectives.relational import relational_distillation
from active_indexing.training.objectives.teacher_bank import bank_cross_entropy
from tests.reference import losses as slow


def unit(rows, dim=5, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)).double(), dim=1)


STUDENT, TEACHER, OTHERS = unit(3, seed=1), unit(3, seed=2), unit(7, seed=3)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_similarity_distillation_equals_the_slow_oracle(temperature):
    raw = 3 * TEACHER  # kd_icd's teacher is not normalised
    dictionary = torch.cat([raw, OTHERS])
    expected = slow.similarity_distillation(STUDENT.tolist(), raw.tolist(), dictionary.tolist(), temperature)
    actual = similarity_distillation(STUDENT, raw, dictionary, temperature)
    assert actual.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.04, 0.5])
def test_relational_distillation_equals_the_slow_oracle(temperature):
    expected = slow.relational_distillation(STUDENT.tolist(), TEACHER.tolist(), OTHERS.tolist(), temperature)
    actual = relational_distillation(STUDENT, TEACHER, OTHERS, temperature)
    assert actual.item() == pytest.approx(expected, rel=1e-9)


def test_a_student_that_equals_its_teacher_has_no_relational_loss_and_the_entropy_as_similarity_loss():
    assert relational_distillation(TEACHER, TEACHER, OTHERS, 0.1).item() == pytest.approx(0, abs=1e-12)
    shares = (TEACHER @ OTHERS.T / 0.1).softmax(dim=1)
    entropy = -(shares * shares.log()).sum(dim=1).mean().item()
    assert similarity_distillation(TEACHER, TEACHER, OTHERS, 0.1).item() == pytest.approx(entropy)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_momentum_contrast_equals_the_slow_oracle(temperature):
    expected = slow.momentum_contrast(STUDENT.tolist(), TEACHER.tolist(), OTHERS.tolist(), temperature)
    actual = momentum_contrast(STUDENT, TEACHER, OTHERS, temperature)
    assert actual.item() == pytest.approx(expected, rel=1e-9)


def test_hard_negatives_equal_the_slow_oracle_and_have_a_floor():
    expected = slow.hard_negative(STUDENT.tolist(), OTHERS.tolist())
    assert hard_negative_term(STUDENT, OTHERS).item() == pytest.approx(expected, rel=1e-9)
    assert hard_negative_term(OTHERS[:2], OTHERS).item() == pytest.approx(-math.log(1e-3), rel=1e-6)


def test_the_bank_equals_the_slow_oracle_and_leaves_the_own_row_out_of_the_others():
    foreign = torch.ones(3, 7, dtype=torch.bool)
    foreign[0, 2] = foreign[2, 6] = False
    arguments = (STUDENT, TEACHER, OTHERS, foreign)
    expected = slow.bank_cross_entropy(*(each.tolist() for each in arguments), 0.05)
    assert bank_cross_entropy(*arguments, 0.05).item() == pytest.approx(expected, rel=1e-9)
    nobody = bank_cross_entropy(STUDENT, TEACHER, OTHERS, torch.zeros_like(foreign), 0.05)
    assert nobody.item() == pytest.approx(0, abs=1e-12)


def test_the_slow_copy_moves_by_one_minus_the_momentum():
    copy, network = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    before, target = copy.weight.clone(), network.weight.clone()
    follow(copy, network, 0.75)
    torch.testing.assert_close(copy.weight, 0.75 * before + 0.25 * target)
    torch.testing.assert_close(network.weight, target)


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 6))
def test_a_queue_holds_the_last_rows_that_were_pushed(sizes, capacity):
    queue, pushed = FeatureQueue(capacity, 1), []
    for size in sizes:
        rows = torch.arange(len(pushed), len(pushed) + size)
        queue.push(rows[:, None].float(), rows)
        pushed += rows.tolist()
    kept = pushed[-capacity:]
    real = queue.images != NOBODY
    assert sorted(queue.images[real].tolist()) == sorted(kept)
    assert queue.features[real, 0].tolist() == queue.images[real].tolist()


def test_a_queue_starts_with_unit_rows_that_are_foreign_to_every_image():
    queue = FeatureQueue(4, 3)
    torch.testing.assert_close(queue.features.norm(dim=1), torch.ones(4))
    assert queue.foreign(torch.tensor([0, 7])).all()
    queue.push(unit(1, 3), torch.tensor([7]))
    assert queue.foreign(torch.tensor([0, 7])).tolist() == [[True] * 4, [False, True, True, True]]
    with pytest.raises(ValueError, match="needs at least 1 row and 1 value, got 0 x 3"):
        FeatureQueue(0, 3)
