"""EvaluationStage of a whole folder: both stages on one index and one pool, their CSVs and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from active_indexing.artefacts import csv_tables, identity
from active_indexing.attacks.jobs import attack_pool, preload_attacks
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack, attacks_2, default_attacks
from active_indexing.attacks.screenshots import BUILT_IN, locate
from active_indexing.descriptors.batching import block_size
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.evaluation import tables
from active_indexing.evaluation.config import EvaluationConfig
from active_indexing.evaluation.copies import ViewSearch
from active_indexing.evaluation.lost_copies import LOST_COPIES, LostCopies, Origins, write_lost_copies
from active_indexing.evaluation.queries import drawn, non_matching_queries
from active_indexing.evaluation.stage import EvaluationStage, QueryImage
from active_indexing.evaluation.summary import CopyDetectionSummary, RetrievalSummary, failure_counts
from active_indexing.index.config import IndexConfig
from active_indexing.index.preparation import PreparedIndex
from active_indexing.index.vector_index import VectorIndex
from active_indexing.records import Failure, QueryRow

RETRIEVAL, COPY_DETECTION, PASSIVE = "retrieval", "copy_detection", "passive_retrieval"
VIEWS = "views_retrieval"
_CSV = {RETRIEVAL: "retr_df.csv", COPY_DETECTION: "icd_df.csv"}


def chosen_attacks(config: EvaluationConfig) -> tuple[Attack, ...]:
    """The 15 attacks or the 104, and those that the user adds.

    Raises:
        ValueError, FileNotFoundError: the screenshot template can't be used, whichever list was chosen.
    """
    default = default_attacks(config.screenshot_template)
    more = [Attack(name.strip()) for name in config.more_attacks.split(",") if name.strip()]
    return (*(attacks_2() if config.use_attacks_2 else default), *more)


@dataclass(frozen=True)
class ProtectedImages:
    """Released images that are to be found again.

    Attributes:
        queries: one per image; what is found must have its id.
        fingerprint: of the inputs that the index holds for them.
        journals: folder of the journals.
    """

    queries: list[QueryImage]
    fingerprint: str
    journals: Path


class EvaluationHarness:
    """Retrieval and copy detection of the released images.

    Args:
        config: what is evaluated.
        search: how the index is asked: ``nprobe``, ``entries``, ``quant``.
        descriptor: describes the copies.
        fingerprint: of the descriptor.
        prepared: index with its references; the protected images must be in it before ``run``.
        output_dir: where the CSVs go.
        seed: the user's ``--seed``.
        progress: show bars with an estimate.

    Raises:
        ValueError, FileNotFoundError: a screenshot template or a folder of queries that can't be used.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        search: IndexConfig,
        descriptor: Descriptor,
        fingerprint: str,
        prepared: PreparedIndex,
        *,
        output_dir: Path,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self._config = config
        self._search = search
        self._seed = seed
        self._output_dir = output_dir
        self._progress = progress
        self._non_matching = non_matching_queries(config)
        self._attacks: dict[str, tuple[Attack, ...]] = {}
        attacks = chosen_attacks(config)
        if config.eval_retrieval and config.evaluates:
            self._attacks[RETRIEVAL] = attacks
        if config.eval_icd and config.evaluates:
            self._attacks[COPY_DETECTION] = (Attack(RANDOM_CHAIN),)
        self._descriptor = descriptor
        self._fingerprint = fingerprint
        self._prepared = prepared

    def preload(self) -> None:
        """Let what the workers of ``run`` need be loaded meanwhile."""
        if self._attacks:
            preload_attacks()

    def attacks(self, stage: str) -> tuple[Attack, ...]:
        """What is done to each image of a stage; nothing where it is left out."""
        return self._attacks.get(RETRIEVAL if stage in (PASSIVE, VIEWS) else stage, ())

    def identity(self, protected: ProtectedImages) -> str:
        """Fingerprint of everything that the answers for released images depend on."""
        whole = [self.settings(stage, protected) for stage in self._attacks]
        sampled = self.sampled(protected.queries)
        if len(sampled) == len(protected.queries):  # as runs without samples had it
            return identity.fingerprint(whole)
        return identity.fingerprint([*whole, [query.id for query in sampled]])

    def is_covered(self, recorded: str | None, protected: ProtectedImages) -> bool:
        """Whether an evaluation of this identity, of all images or of the same sample, has the answers."""
        whole = identity.fingerprint([self.settings(stage, protected) for stage in self._attacks])
        return recorded in (whole, self.identity(protected))

    def sampled(self, queries: list[QueryImage]) -> list[QueryImage]:
        """Those with the smallest keys, drawn for their ids: a larger sample holds a smaller one."""
        return drawn(queries, self._config.most_sampled, self._seed)

    def viewed(self, queries: list[QueryImage]) -> list[QueryImage]:
        """Those of the sample whose copies are looked at in parts too."""
        return drawn(self.sampled(queries), self._config.most_viewed, self._seed)

    def run(
        self,
        protected: ProtectedImages,
        workers: int,
        threads: int,
        *,
        failures: Sequence[Failure] = (),
    ) -> dict[str, Any]:
        """Evaluate what is not on record yet and write the CSVs.

        Args:
            protected: the released images.
            workers: attack processes.
            threads: images described at the same time.
            failures: of the passive baseline, to be told with the others.

        Returns:
            Figures of each stage, counts of failed attacks, and how many images were attacked, for
            ``run.json``.
        """
        queries = self.sampled(protected.queries) if self._attacks else []
        sample = {"sample": {"evaluated": len(queries), "released": len(protected.queries)}}
        sampled, lost = replace(protected, queries=queries), LostCopies()
        with ExitStack() as journals:
            stages = [
                journals.enter_context(closing(self._stage(stage, sampled)))
                for stage in (self._attacks if queries else ())
            ]
            self.answer(stages, self._prepared.index, workers, threads)
            content = self._write(stages, failures, lost) | sample
        self._keep_lost_copies(lost, protected, workers)
        return content

    def _stage(self, stage: str, protected: ProtectedImages) -> EvaluationStage:
        more = [] if stage == RETRIEVAL else self._non_matching
        settings = self.settings(stage, protected)
        queries = [*protected.queries, *more]
        return EvaluationStage(stage, protected.journals, settings, queries, self.attacks(stage))

    def settings(self, stage: str, protected: ProtectedImages) -> dict[str, Any]:
        """Everything that the answers of a stage depend on but the images."""
        attacks = self.attacks(stage)
        return {
            "stage": stage,
            "seed": self._seed,
            "kneighbors": self._config.kneighbors,
            "nprobe": self._search.nprobe,
            "entries": self._search.entries,
            "index": self._prepared.inputs,
            "descriptor": self._fingerprint,
            "described_together": block_size(self._descriptor),
            "protected": protected.fingerprint,
            "attacks": [repr(attack) for attack in attacks],
            "templates": [_template_hash(attack) for attack in attacks if attack.options],
        }

    def answer(
        self,
        stages: list[EvaluationStage],
        index: VectorIndex,
        workers: int,
        threads: int,
        views: ViewSearch | None = None,
    ) -> None:
        """Ask the index what is not on record yet; with ``views`` copies are searched in parts."""
        # Starting workers takes seconds, so none are started when everything is on record.
        with attack_pool(workers if any(stage.todo for stage in stages) else 0) as pool:
            for stage in stages:
                stage.run(
                    self._descriptor,
                    index,
                    pool,
                    k=self._config.kneighbors,
                    seed=self._seed,
                    threads=threads,
                    progress=self._progress,
                    views=views,
                )

    def blocks(self, stage: EvaluationStage) -> Iterator[tuple[int, QueryRow]]:
        """The rows of a stage in the order of its CSV."""
        return stage.blocks(self._config.batch_size_eval)

    def _write(
        self, stages: list[EvaluationStage], others: Sequence[Failure], lost: LostCopies
    ) -> dict[str, Any]:
        """CSVs of the stages that ran; those that an earlier run left of the others would be out of date."""
        content: dict[str, Any] = {}
        retrieved: set[int] = set()
        failures: list[Failure] = []
        for name in _CSV.values():
            if name not in [_CSV[stage.stage] for stage in stages]:
                (self._output_dir / name).unlink(missing_ok=True)
        for stage in stages:
            content[stage.stage] = self._write_stage(stage, retrieved, lost)
            failures += stage.failures()
        failures += others
        rows = (
            (f.stage, f.image_index, self._shown(f.path), f.attack, f.attack_param, f.reason)
            for f in failures
        )
        csv_tables.write_csv(self._output_dir / "failures.csv", tables.FAILURE_COLUMNS, rows)
        self._write_names(retrieved)
        return {**content, "failed_attacks": failure_counts(failures)}

    def _write_stage(self, stage: EvaluationStage, retrieved: set[int], lost: LostCopies) -> Any:
        path = self._output_dir / _CSV[stage.stage]
        blocks = self.blocks(stage)
        summary: RetrievalSummary | CopyDetectionSummary
        if stage.stage == RETRIEVAL:
            summary = RetrievalSummary()
            watched = lost.watch(summary.watch(blocks))
            rows = (tables.retrieval_row(block, row) for block, row in watched)
            csv_tables.write_csv(path, tables.RETRIEVAL_COLUMNS, rows)
        else:
            summary = CopyDetectionSummary(larger_is_better=self._search.quant == "IP")
            rows = (tables.copy_detection_row(block, row) for block, row in summary.watch(blocks))
            csv_tables.write_csv(path, tables.COPY_DETECTION_COLUMNS, rows)
        retrieved |= summary.retrieved
        return summary.table()

    def _shown(self, path: Path) -> str:
        """Released files as in the manifest, others as they were given."""
        folder = self._output_dir
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

    def _write_names(self, retrieved: set[int]) -> None:
        """``references.csv``: the names of the references that were retrieved."""
        path = self._output_dir / "references.csv"
        if self._prepared.names is None:
            path.unlink(missing_ok=True)
            return
        csv_tables.write_csv(path, ("id", "name"), self._names(retrieved))

    def _names(self, ids: set[int]) -> Iterator[tuple[int, str]]:
        """(id, name) of those that are references with names."""
        if self._prepared.names is not None:
            with open(self._prepared.names, encoding="utf-8", errors="surrogateescape") as lines:
                numbered = enumerate(lines, start=self._prepared.first_reference)
                yield from ((id_, line.rstrip("\n")) for id_, line in numbered if id_ in ids)

    def _keep_lost_copies(self, lost: LostCopies, protected: ProtectedImages, workers: int) -> None:
        path = self._output_dir / LOST_COPIES
        if not lost.asked:
            path.unlink(missing_ok=True)
            return
        queries = {query.id: query for query in protected.queries}
        names = dict(self._names(lost.answers()))
        origins = Origins(queries, self.attacks(RETRIEVAL), self._seed, names)
        write_lost_copies(path, lost, origins, self.settings(RETRIEVAL, protected)["templates"], workers)


def _template_hash(attack: Attack) -> list[str]:
    template = dict(attack.options)["template"]
    return [] if template in BUILT_IN else [identity.sha256_file(Path(path)) for path in locate(template)]
