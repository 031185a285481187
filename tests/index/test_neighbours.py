from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from active_indexing.index.neighbours import Neighbours, best_ids, most_of_one

Search = Callable[[np.ndarray, int], list[Neighbours]]


def searching(lists: list[list[int]], asked: list[tuple[list[int], int]]) -> Search:
    """A search for query n (its only value) in lists[n], ids from the best entry to the worst."""

    def search(queries: np.ndarray, k: int) -> list[Neighbours]:
        rows = queries[:, 0].astype(int).tolist()
        asked.append((rows, k))
        found = [np.array(lists[row][:k], dtype=np.int64) for row in rows]
        return [Neighbours(ids, np.arange(len(ids), dtype=np.float32)) for ids in found]

    return search


def queries(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None]


def test_each_id_comes_once_in_the_order_of_its_best_entry() -> None:
    (answer,) = best_ids(searching([[7, 7, 3, 7, 5, 3]], []), queries(1), k=10, most=3)
    assert answer.ids.tolist() == [7, 3, 5]
    assert answer.distances.tolist() == [0, 2, 4]


def test_an_index_without_repetitions_is_searched_once_for_k_and_answers_as_it_is() -> None:
    asked: list[tuple[list[int], int]] = []
    answers = best_ids(searching([[4, 2, 9], [1]], asked), queries(2), k=2, most=1)
    assert asked == [([0, 1], 2)]
    assert [answer.ids.tolist() for answer in answers] == [[4, 2], [1]]


def test_one_answer_needs_one_entry() -> None:
    asked: list[tuple[list[int], int]] = []
    (answer,) = best_ids(searching([[4, 4, 4, 2]], asked), queries(1), k=1, most=3)
    assert asked == [([0], 1)]
    assert answer.ids.tolist() == [4]


def test_only_queries_whose_answer_was_cut_short_are_searched_again() -> None:
    lists = [[1, 1, 1, 1, 2, 2, 2, 2, 3, 4], [1, 2, 3, 4, 5, 6], [8, 8, 8]]
    asked: list[tuple[list[int], int]] = []
    answers = best_ids(searching(lists, asked), queries(3), k=3, most=4)
    assert asked == [([0, 1, 2], 6), ([0], 12)]
    assert [answer.ids.tolist() for answer in answers] == [[1, 2, 3], [1, 2, 3], [8]]


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 3, 7, 40])
def test_it_equals_the_first_of_each_of_all_entries(k: int, most: int) -> None:
    rng = np.random.default_rng(k)
    lists = [rng.permutation(np.repeat(np.arange(20), most)).tolist() for _ in range(30)]
    answers = best_ids(searching(lists, []), queries(30), k, most)
    for entries, answer in zip(lists, answers, strict=True):
        assert answer.ids.tolist() == list(dict.fromkeys(entries))[:k]


def test_the_most_frequent_id_is_counted() -> None:
    assert most_of_one(np.array([5, 1 << 62, 5, (1 << 62) + 1])) == 2
    assert most_of_one(np.empty(0, np.int64)) == 1
