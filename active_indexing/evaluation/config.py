"""How released images are attacked and searched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import between, setting

MOST_NEIGHBOURS = 100_000
"""Results per query, and images per block of rows: 1.2 MB of distances and ids a query."""

MOST_SAMPLED = 1_000_000_000
"""Images; more than any folder has."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How released images are attacked and searched.

    Every field is a flag of the same name; its ``help`` says what it means.
    """

    eval_retrieval: bool = setting(True, "attack and search the released images: retr_df.csv")
    eval_icd: bool = setting(True, "copy detection with random chains and non-matching queries: icd_df.csv")
    query_nonmatch_dir: Path | None = setting(
        None,
        "images that are in no index, for copy detection (default: the demo's with the demo photos, "
        "else none)",
    )
    eval_sample: str | int = setting(
        "200",
        "how many of the released images are attacked and searched, drawn by id: a number, all or none; the "
        "index holds every image all the same",
    )
    baseline: bool = setting(
        True,
        "an active run also tells what the same images would have got without activation: "
        "retr_passive_df.csv",
    )
    eval_views: str | int = setting(
        "20",
        "how many of the evaluated images are searched once more with views, as query does (without border, "
        "rectangles, quarter turns): retr_views_df.csv; a number, all or none",
    )
    use_attacks_2: bool = setting(False, "the grid of 104 attacks instead of the 15")
    more_attacks: str = setting("", "attacks to add, name,name: of plug-ins, or module:function")
    screenshot_template: str = setting("web", "web, mobile, or an image file")
    kneighbors: int = setting(100, "results per query")
    batch_size_eval: int = setting(128, "images per block of rows in the CSVs")

    def __post_init__(self) -> None:
        between("kneighbors", self.kneighbors, 1, MOST_NEIGHBOURS)
        between("batch_size_eval", self.batch_size_eval, 1, MOST_NEIGHBOURS)
        for name, value in (("eval_sample", self.eval_sample), ("eval_views", self.eval_views)):
            if value not in ("all", "none"):
                if not str(value).isdecimal():
                    raise ValueError(f"--{name} must be a number, all or none, got {value!r}.")
                between(name, int(value), 1, MOST_SAMPLED)

    @property
    def most_sampled(self) -> int | None:
        """Released images that are evaluated at most; ``None``: all of them."""
        return _number(self.eval_sample)

    @property
    def most_viewed(self) -> int | None:
        """Of these, those whose copies are looked at in parts too, at most."""
        return _number(self.eval_views)

    @property
    def evaluates(self) -> bool:
        """Whether any image is attacked and searched."""
        return (self.eval_retrieval or self.eval_icd) and self.most_sampled != 0


def _number(value: str | int) -> int | None:
    return None if value == "all" else 0 if value == "none" else int(value)
