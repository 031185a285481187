"""A store behaves like a dict, whatever is done to it in whatever order."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from active_indexing.query.reranking import ranked
from active_indexing.query.views import WHOLE
from active_indexing.store.archive import Store
from active_indexing.store.rows import NewImage
from active_indexing.store.search import CandidateSearch
from active_indexing.store.verify import verify
from tests.store.made_up import make_store, new_image
from tests.tracing import available, traced


class StoreMachine(RuleBasedStateMachine):
    """Release, remove, kill, reopen, rebuild, search; the model is a dict from number to image."""

    @initialize()
    def make(self) -> None:
        self.folder = make_store(Path(tempfile.mkdtemp()) / "store")
        self.model: dict[int, NewImage] = {}
        self.removed: set[int] = set()
        self.reader = Store(self.folder)
        self.search = CandidateSearch(self.reader)

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            self.reader.close()
            shutil.rmtree(self.folder.parent)

    @rule(numbers=st.sets(st.integers(0, 30), max_size=4))
    def release(self, numbers: set[int]) -> None:
        new = sorted(numbers - self.model.keys() - self.removed)
        with Store.writing(self.folder) as store:
            images = [new_image(self.folder, number) for number in new]
            store.append(store.database.begin_run({}), images)
        self.model |= dict(zip(new, images, strict=True))

    @rule(number=st.integers(0, 30))
    def remove(self, number: int) -> None:
        with Store.writing(self.folder) as store:
            gone = store.remove(new_image(self.folder, number, write=False).id)
        assert (gone is not None) == (number in self.model)
        if self.model.pop(number, None) is not None:
            self.removed.add(number)

    @rule()
    def rebuild(self) -> None:
        with Store.writing(self.folder) as store:
            first = store.save_cache().read_bytes()
            assert store.save_cache().read_bytes() == first

    @rule()
    def reopen(self) -> None:
        self.reader.close()
        self.reader = Store(self.folder)
        self.search = CandidateSearch(self.reader)

    @precondition(lambda self: available())
    @rule(
        number=st.integers(0, 30),
        at=st.integers(1, 40),
        mode=st.sampled_from(["kill", "torn"]),
        action=st.sampled_from(["release", "remove", "rebuild"]),
    )
    def killed(self, number: int, at: int, mode: str, action: str) -> None:
        known = number in self.model or number in self.removed
        if action == "release" and known:
            return
        self.reader.close()  # nothing but the killed process has the store open
        image = new_image(self.folder, number, write=False)

        def run(tell: Callable[[str], None]) -> None:
            with Store.writing(self.folder) as store:
                if action == "release":
                    store.append(store.database.begin_run({}), [new_image(self.folder, number)])
                elif action == "remove":
                    store.remove(image.id)
                else:
                    store.save_cache()
                tell("done")

        trace = traced(run, self.folder, at, mode)
        self.reopen()
        rows = self.reader.database.images([image.id])
        found = bool(rows) and rows[0].status == "released"
        if "done" in trace.told:  # what was promised is there; what was not may be, or not at all
            assert found == (action == "release" or (action == "rebuild" and number in self.model))
        assert found or action != "rebuild" or number not in self.model
        if found and action == "release":
            self.model[number] = image
        elif action == "remove" and not found and self.model.pop(number, None) is not None:
            self.removed.add(number)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def every_image_finds_itself(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.model)))
        image = self.model[number]
        ids = self.search.candidates(image.descriptor[None], k=40, nprobe=8)
        best = ranked(image.descriptor[None], [WHOLE], self.reader.database.descriptors(ids), 0)
        assert best[0].id == image.id
        assert {each.id for each in best} <= {each.id for each in self.model.values()}

    @invariant()
    def an_open_reader_sees_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = {row.id: row for row in self.reader.database.rows()}
        assert rows.keys() == {image.id for image in self.model.values()}
        stored = self.reader.database.descriptors(list(rows))
        for image in self.model.values():
            assert rows[image.id].released_sha256 == image.released_sha256
            np.testing.assert_allclose(stored[image.id][0], image.descriptor, atol=1e-3)

    @rule()
    def verify(self) -> None:
        with Store(self.folder) as store:
            lost = [each for each in verify(store, record=False).damage if each.fix is None]
            assert lost == []


StoreMachine.TestCase.settings = settings(
    # A soak: SOAK=200 python -m pytest tests/store/test_model.py
    max_examples=int(os.environ.get("SOAK", "6")),
    stateful_step_count=12 if "SOAK" not in os.environ else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStore = StoreMachine.TestCase
