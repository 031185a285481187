"""Arms of ``bench_activation.py`` released, attacked, described and searched; what is done is not redone.

Below the output folder every arm has a folder like that of a run of main.py (``imgs/`` and a journal), and
``copies.npz`` with the descriptors of its attacked copies. Searching is quick and done every time.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts import atomic, identity
from active_indexing.attacks.jobs import AttackJob, attack_pool
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack, default_attacks
from active_indexing.config import RunConfig
from active_indexing.descriptors.batching import block_size, describe_blocks
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.evaluation.queries import non_matching_queries
from active_indexing.evaluation.stage import QueryImage
from active_indexing.evaluation.summary import CopyDetectionSummary
from active_indexing.index.preparation import PreparedIndex, prepare_index
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.threads import groups_of, map_in_order, one_core_per_operation
from active_indexing.pipeline import release_header
from active_indexing.records import NO_MATCH, ManifestRow, QueryRow, SourceImage
from active_indexing.release.folder import IMAGES, FolderRelease
from active_indexing.release.image import ImageReleaser, Released
from active_indexing.release.output_folder import open_journal
from scripts.benches.arms import Arm

ATTACKS = default_attacks()
CHAIN = Attack(RANDOM_CHAIN)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of the images in one arm.

    Attributes:
        arm: which.
        rows: manifest rows, one per image.
        hits: nprobe -> (N, 15) float64: 1 when the copy's first answer is its image, 0 when it is not,
            ``nan`` when there is no copy.
        uap: nprobe -> uAP of one random chain per image, and per query without a match.
    """

    arm: Arm
    rows: list[ManifestRow]
    hits: dict[int, np.ndarray]
    uap: dict[int, float]


class Bench:
    """Everything that the arms share.

    Args:
        config: a run; its ``output_dir`` is the folder that holds those of the arms.
        sources: the images.
        descriptor: of everything.
        workers: attack processes, and images that are released or described at the same time.
    """

    def __init__(
        self, config: RunConfig, sources: Sequence[SourceImage], descriptor: Descriptor, workers: int
    ) -> None:
        self.config, self.sources, self.descriptor, self.workers = config, sources, descriptor, workers
        self.fingerprint = descriptor.fingerprint
        self._prepared = self._index()

    @property
    def index(self) -> VectorIndex:
        """With its references, and none of the images."""
        return self._prepared.index

    @property
    def inputs(self) -> dict[str, Any]:
        """What made the index."""
        return self._prepared.inputs

    def config_of(self, arm: Arm) -> RunConfig:
        """The run that releases an arm."""
        folder = self.config.output_dir / arm.folder
        return replace(self.config, output_dir=folder, active=arm.active, activation=arm.activation)

    def outcome(self, arm: Arm, nprobes: Sequence[int]) -> Outcome:
        """Release, attack and describe what is not done yet, and search it."""
        with one_core_per_operation():
            items, queries = self._released(arm)
            copies = self._copies(self.config.output_dir / arm.folder, queries, (*ATTACKS, CHAIN))
            others = self._copies(
                self.config.output_dir, non_matching_queries(self.config.evaluation), (CHAIN,)
            )
        index = self._index().index
        for source, released in items:
            if released.entries is not None:
                index.add(released.entries, np.full(len(released.entries), source.id))
        shipped = {query.id for query in queries}
        everyone = np.full((len(self.sources), *copies.shape[1:]), np.nan, np.float32)
        everyone[[source.id in shipped for source in self.sources]] = copies
        ids = np.array([source.id for source in self.sources])
        chains = [*zip(ids, everyone[:, -1], strict=True), *((NO_MATCH, copy) for copy in others[:, -1])]
        hits, uap = {}, {}
        for nprobe in nprobes:
            index.set_nprobe(nprobe)
            hits[nprobe] = hits_of(index, ids, everyone[:, :-1])
            uap[nprobe] = self._uap(index, chains)
        return Outcome(arm, [released.row for _, released in items], hits, uap)

    def _index(self) -> PreparedIndex:
        return prepare_index(self.config.index, self.descriptor.dim, self.fingerprint, seed=self.config.seed)

    def _released(self, arm: Arm) -> tuple[list[tuple[SourceImage, Released]], list[QueryImage]]:
        config = self.config_of(arm)
        header = release_header(config, self.fingerprint, self._prepared.inputs)
        with open_journal(config.output_dir, header) as journal:
            release = FolderRelease(journal, config.output_dir, self.sources, config.save_format)
            releaser = ImageReleaser(
                config.release, config.activation, self.descriptor, self.index, config.output_dir / IMAGES
            )
            release.run(releaser, threads=max(1, self.workers), progress=config.verbose > 0)
            queries = [QueryImage(id_, path, id_, version) for id_, path, version in release.shipped()]
            return list(release.items()), queries

    def _copies(self, folder: Path, queries: Sequence[QueryImage], attacks: tuple[Attack, ...]) -> np.ndarray:
        """(N, attacks, D) float32 descriptors of attacked copies, ``nan`` for those that failed."""
        if not queries:
            return np.zeros((0, len(attacks), self.descriptor.dim), np.float32)
        made_from = identity.fingerprint(self._made_from(queries, attacks))
        path = folder / "copies.npz"
        if path.exists() and self.config.existing == "resume":
            with np.load(path) as stored:
                if str(stored["made_from"]) == made_from:
                    return stored["copies"]
        copies = described_copies(
            [(query.id, query.path) for query in queries],
            attacks,
            self.descriptor,
            self.workers,
            seed=self.config.seed,
            progress=self.config.verbose > 0,
        )
        content = io.BytesIO()
        np.savez(content, copies=copies, made_from=np.array(made_from))
        atomic.write_bytes(path, content.getvalue())
        return copies

    def _made_from(self, queries: Sequence[QueryImage], attacks: tuple[Attack, ...]) -> dict[str, Any]:
        return {
            "queries": [query.key for query in queries],
            "attacks": [repr(attack) for attack in attacks],
            "seed": self.config.seed,
            "descriptor": self.fingerprint,
            "described_together": block_size(self.descriptor),
        }

    def _uap(self, index: VectorIndex, chains: Sequence[tuple[int, np.ndarray]]) -> float:
        summary = CopyDetectionSummary(larger_is_better=self.config.index.quant == "IP")
        rows = []
        for image_index, copy in chains:
            if not np.isnan(copy).any():
                found = index.search(copy[None], self.config.evaluation.kneighbors)[0]
                rows.append((0, QueryRow(int(image_index), RANDOM_CHAIN, "", found.ids, found.distances)))
        for _ in summary.watch(rows):
            pass
        return float(summary.table().get("uAP", float("nan")))


def described_copies(
    files: Sequence[tuple[int, Path]],
    attacks: tuple[Attack, ...],
    descriptor: Descriptor,
    workers: int,
    *,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Descriptors of attacked copies, (N, attacks, D) float32; ``nan`` for those that failed.

    Args:
        files: (id, path) of the images.
        attacks: a random chain, if any, is the last.
        descriptor: of the copies.
        workers: attack processes, and groups described at the same time.
        seed: of the attacks.
        progress: show a bar.
    """
    copies = np.full((len(files), len(attacks), descriptor.dim), np.nan, np.float32)
    known = {(attack.name, attack.param_text): place for place, attack in enumerate(attacks)}
    jobs = (
        AttackJob(image_id=id_, path=path, attacks=attacks, seed=seed, preprocessing=descriptor.preprocessing)
        for id_, path in files
    )
    together = max(1, block_size(descriptor) // len(attacks))

    def described(group: list[Any]) -> list[tuple[list[int], np.ndarray]]:
        found = iter(describe_blocks([each for one in group for each in one.inputs], descriptor))
        # A random chain comes back under the name of what was drawn; it is always the last attack.
        places = [[known.get(attack, len(attacks) - 1) for attack in one.attacks] for one in group]
        return [(at, np.array([next(found) for _ in at])) for at in places]

    with (
        attack_pool(workers) as pool,
        progress_bar(total=len(files), desc="attacks", unit="img", disable=not progress) as bar,
    ):
        results = map_in_order(described, groups_of(together, pool.run(jobs)), max(1, workers))
        for row, (at, vectors) in zip(copies, (one for group in results for one in group), strict=True):
            if at:
                row[at] = vectors
            bar.update()
    return copies


def hits_of(index: VectorIndex, ids: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """(N, attacks) float64, see :class:`Outcome`; searched one by one, as an evaluation does."""
    hits = np.full(copies.shape[:2], np.nan)
    for place, attack in zip(*np.nonzero(~np.isnan(copies).any(axis=2)), strict=True):
        found = index.search(copies[place, attack][None], 1)[0].ids
        hits[place, attack] = float(len(found) > 0 and found[0] == ids[place])
    return hits
