from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from active_indexing.parallel.threads import (
    WAITING_PER_THREAD,
    SharedBudget,
    groups_of,
    map_as_done,
    map_in_order,
    one_core_per_operation,
)

MAPS = pytest.mark.parametrize("mapping", [map_in_order, map_as_done])
Mapping = Callable[..., Iterator[Any]]


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def later_for_earlier(number: int) -> int:
    time.sleep(0.02 if number % 4 == 0 else 0.0)
    return 10 * number


def test_results_keep_the_order_of_the_items() -> None:
    assert list(map_in_order(later_for_earlier, range(20), 4)) == [10 * n for n in range(20)]


def test_results_as_they_come_are_all_there_once() -> None:
    assert sorted(map_as_done(later_for_earlier, range(20), 4)) == [10 * n for n in range(20)]


def test_a_quick_result_does_not_wait_for_a_slow_one() -> None:
    release = threading.Event()

    def wait_for_zero(number: int) -> int:
        if number == 0:
            assert release.wait(10)
        return number

    results = map_as_done(wait_for_zero, range(6), 2)
    first = [next(results) for _ in range(3)]
    release.set()
    assert 0 not in first
    assert sorted([*first, *results]) == list(range(6))


@MAPS
def test_few_items_are_taken_before_their_turn(mapping: Mapping) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = mapping(lambda number: number, items(), 3)
    assert taken == []
    for received in range(1, 50):
        next(results)
        # One item more is drawn while a result is being waited for, never the whole input.
        assert len(taken) <= received + 2 * WAITING_PER_THREAD * 3
    results.close()


@MAPS
def test_no_item_gives_no_result(mapping: Mapping) -> None:
    assert list(mapping(later_for_earlier, [], 3)) == []


@MAPS
def test_an_error_comes_out_and_the_items_behind_it_are_left(mapping: Mapping) -> None:
    done = []

    def fail_at_three(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        done.append(number)
        return number

    with pytest.raises(KeyError, match="three"):
        list(mapping(fail_at_three, range(1000), 2))
    assert len(done) < 20
    assert not own_threads()


@MAPS
def test_an_error_of_the_input_comes_out(mapping: Mapping) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(mapping(later_for_earlier, items(), 2))
    assert not own_threads()


@MAPS
def test_stopping_early_leaves_no_thread(mapping: Mapping) -> None:
    results = mapping(later_for_earlier, range(1000), 2)
    next(results)
    results.close()
    assert not own_threads()


def test_groups_keep_the_order_and_the_last_one_may_be_shorter() -> None:
    assert list(groups_of(3, range(7))) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(groups_of(3, [])) == []


def test_a_group_is_there_before_the_next_one_is_taken() -> None:
    numbers = iter(range(7))
    assert next(groups_of(2, numbers)) == [0, 1]
    assert next(numbers) == 2


def test_one_core_per_operation_ends_with_its_block() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_core_per_operation():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_core_per_operation():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


ONE_CORE = """
import os, torch
from active_indexing.parallel.threads import map_as_done, one_core_per_operation
convolution, image = torch.nn.Conv2d(3, 64, 3, padding=1), torch.rand(1, 3, 128, 128)
def threads_started(_):
    before = len(os.listdir("/proc/self/task"))
    convolution(image).sum().backward()
    return len(os.listdir("/proc/self/task")) - before
with one_core_per_operation():
    print(list(map_as_done(threads_started, [0], 1)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the threads in /proc")
def test_a_worker_computes_on_one_core_from_its_first_operation() -> None:
    environment = {"OMP_NUM_THREADS": "6", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", ONE_CORE], env=environment, capture_output=True, text=True, check=True
    )
    # One thread may be autograd's own; six would be a team of cores.
    assert int(done.stdout.strip("[]\n")) <= 2


def test_a_budget_is_never_exceeded() -> None:
    budget, held, most, lock = SharedBudget(10), [0], [0], threading.Lock()

    def work(units: int) -> None:
        with budget.take(units):
            with lock:
                held[0] += units
                most[0] = max(most[0], held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= units

    list(map_as_done(work, [3, 4, 5, 1, 7, 2, 10, 6] * 4, 6))
    assert held[0] == 0
    assert 5 < most[0] <= 10


def test_who_needs_more_than_there_is_works_alone() -> None:
    budget, inside = SharedBudget(10), threading.Event()
    with budget.take(1_000):
        thread = threading.Thread(target=lambda: _enter(budget, inside))
        thread.start()
        assert not inside.wait(0.05)
    thread.join(10)
    assert inside.is_set()


def test_an_error_inside_gives_the_units_back() -> None:
    budget = SharedBudget(1)
    with pytest.raises(KeyError), budget.take(1):
        raise KeyError
    with budget.take(1):
        pass


def _enter(budget: SharedBudget, inside: threading.Event) -> None:
    with budget.take(1):
        inside.set()
