"""How released images are attacked and searched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import at_least


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How released images are attacked and searched.

    Attributes:
        eval_retrieval: attack released images, search, write ``retr_df.csv``.
        eval_icd: copy detection with random chains and non-matching queries, write ``icd_df.csv``.
        query_nonmatch_dir: folder of images that are in no index; ``None`` leaves them out.
        use_attacks_2: the grid of 104 attacks instead of the 15.
        screenshot_template: ``web``, ``mobile`` or an image file.
        kneighbors: results per query.
        batch_size_eval: images per block of rows in the CSVs.
    """

    eval_retrieval: bool = True
    eval_icd: bool = True
    query_nonmatch_dir: Path | None = None
    use_attacks_2: bool = False
    screenshot_template: str = "web"
    kneighbors: int = 100
    batch_size_eval: int = 128

    def __post_init__(self) -> None:
        at_least("kneighbors", self.kneighbors, 1)
        at_least("batch_size_eval", self.batch_size_eval, 1)
