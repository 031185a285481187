"""Methods of activation side by side: recall, quality and cost on the same images, index and descriptor.

    python scripts/bench_activation.py --data_dir photos --output_dir bench --images 200

Every method at every PSNR releases the photos as main.py does. The 15 attacks and one random chain are
applied to the released files, the copies are described and searched at each ``--nprobe`` in an index of
references and the images' entries. The passive arm is the images as they are, encoded in the same way.

The gain ratio is (R@1 - passive R@1) / (R@1 of the published method at the same PSNR - passive R@1), with a
95 % bootstrap interval over images, the same draws for all arms. A PSNR is met by scaling the perturbation
before it is rounded. ``gain_ratio_first`` in the summary is beside the published method at the first PSNR.

Costs are of ``--cost_images`` photos as they are, and brought to each of ``--megapixels``; see
``bench_activation_cost.py`` for what is told, and let nothing else run meanwhile.

The same command again goes on where it stopped, and does no arm twice. After a change of the program's code,
choose another ``--output_dir``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from active_indexing.artefacts import atomic, identity
from active_indexing.cli.interrupts import run_program
from active_indexing.config import EXISTING_MODES, RunConfig, configure
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.images.inventory import content_id, inventory
from active_indexing.index.config import METRICS, IndexConfig
from active_indexing.metrics.bootstrap import REPLICATES
from active_indexing.records import SourceImage
from active_indexing.release.config import SAVE_FORMATS
from active_indexing.reporting.recall import label
from analysis.gains import SEEN, UNSEEN
from analysis.method_plots import QUALITIES, recall_against, seconds_against_megapixels
from scripts.benches import tables as tables
from scripts.benches.arms import Arm, active_arms, passive_arm
from scripts.benches.costs import Cost, forward_share, measure
from scripts.benches.made_up import write_sized
from scripts.benches.outcomes import Bench, Outcome

TEN_PASSES = "robust:iterations=5,views=0,entry_views=5"
"""The robust method in the published number of passes: 5 both ways, and 5 + 6 forward only for its aim and
its entry, which count about 0.43 each (see ``forward_share``): 9.7."""

METHODS = ("published:psnr=none", "published", TEN_PASSES, "robust", "perceptual:strength=standard")
OWN_SIZE = "as it is"


def build_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, default = parser.add_argument, "default: %(default)s"
    add("--data_dir", type=Path, required=True, help="folder of photos, searched recursively")
    add("--output_dir", type=Path, required=True, help="folder of tables, figures and released files")
    add("--images", type=int, help="only the first so many (default: all)")
    add("--methods", nargs="+", default=list(METHODS), help=f"name or name:key=value,key=value; {default}")
    add("--psnr", type=float, nargs="+", default=[42.0], help=f"decibels, one run each; {default}")
    add("--query_nonmatch_dir", type=Path, help="images that are in no index, for uAP")
    add("--model_name", help="as for main.py (default: the default descriptor)")
    add("--model_path", type=Path, help="as for main.py")
    add("--resize_size", type=int, help="as for main.py")
    add("--fts_training_path", type=Path, help="as for main.py (default: the embedded index)")
    add("--fts_reference_path", type=Path, help="as for main.py (default: those of the embedded index)")
    add("--idx_dir", type=Path, default=IndexConfig.idx_dir, help=f"of trained indexes; {default}")
    add("--idx_factory", default=IndexConfig.idx_factory, help=default)
    add("--quant", choices=METRICS, default=IndexConfig.quant, help=default)
    add("--entries", type=int, default=IndexConfig.entries, help=f"codes per image; {default}")
    add("--nprobe", type=int, nargs="+", default=[1, IndexConfig.nprobe], help=f"one or several; {default}")
    add("--save_format", choices=SAVE_FORMATS, default=RunConfig.save_format, help=default)
    add("--save_quality", type=int, help="as for main.py")
    add("--megapixels", type=float, nargs="*", default=[], help="sizes at which costs are measured too")
    add("--cost_images", type=int, default=4, help=f"photos of each size; 0 measures no costs; {default}")
    add("--bootstrap", type=int, default=REPLICATES, help=f"sets of images drawn; {default}")
    add("--seed", type=int, default=0, help=default)
    add("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    add("--device", default="cpu", help=f"of the descriptor; {default}")
    add("--existing", choices=EXISTING_MODES, default="resume", help=default)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run from the command line: 0 when everything is measured, 2 for wrong flags or files."""
    arguments = build_parser().parse_args(argv)
    try:
        _check(arguments)
        arms = active_arms(arguments.methods, arguments.psnr)
        bench = _bench(arguments)
        outcomes = []
        for number, arm in enumerate([passive_arm(), *arms], start=1):
            print(f"{number}/{len(arms) + 1} {arm.name}", file=sys.stderr)
            outcomes.append(bench.outcome(arm, arguments.nprobe))
        costs = _costs(arguments, bench, arms)
        print(_written(arguments, bench, tables.common_copies(outcomes), costs))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"everything is in {arguments.output_dir}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    for name, least in (("images", 1), ("workers", 0), ("cost_images", 0), ("bootstrap", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} must be at least {least}, got {value}.")
    for name, values in (("nprobe", arguments.nprobe), ("megapixels", arguments.megapixels)):
        if any(value <= 0 for value in values) or len(set(values)) < len(values):
            raise ValueError(f"--{name} takes different numbers above 0, got {values}.")
    if arguments.output_dir.resolve().is_relative_to(arguments.data_dir.resolve()):
        raise ValueError(
            f"--output_dir {arguments.output_dir} lies in --data_dir: what is released would be an input of "
            "the next run. Choose a folder outside."
        )


def _bench(arguments: argparse.Namespace) -> Bench:
    names = (
        "data_dir", "output_dir", "query_nonmatch_dir", "model_name", "model_path", "resize_size",
        "fts_training_path", "fts_reference_path", "idx_dir", "idx_factory", "quant", "entries",
        "save_format", "save_quality", "seed", "workers", "existing",
    )  # fmt: skip
    config = configure(**{name: getattr(arguments, name) for name in names}, nprobe=arguments.nprobe[0])
    listed = inventory(arguments.data_dir)[: arguments.images]
    sources = [replace(source, id=content_id(source.path)) for source in listed]  # as a run has them
    descriptor = load_descriptor(config.descriptor, torch.device(arguments.device))
    return Bench(config, sources, descriptor, arguments.workers)


def _costs(
    arguments: argparse.Namespace, bench: Bench, arms: Sequence[Arm]
) -> tuple[dict[tuple[str, str], Cost], float]:
    """(method, size) -> cost, and the share of a pass that goes forward only; kept in ``costs/``."""
    if not arguments.cost_images:
        return {}, float("nan")
    folder, costs = arguments.output_dir / "costs", {}
    if arguments.existing == "overwrite":
        shutil.rmtree(folder, ignore_errors=True)
    once = {arm.spec: arm for arm in reversed(arms)}  # a method costs the same at every PSNR
    with tempfile.TemporaryDirectory() as temporary:
        for size in (OWN_SIZE, *(f"{megapixels:g} MP" for megapixels in arguments.megapixels)):
            sources = bench.sources[: arguments.cost_images]
            if size != OWN_SIZE:
                scaled = Path(temporary) / size
                write_sized(arguments.data_dir, scaled, len(sources), float(size.split()[0]))
                sources = inventory(scaled)
            for spec in dict.fromkeys(arm.spec for arm in arms):
                costs[spec, size] = _cost(bench, once[spec], sources, folder, size)
    made_from = {"descriptor": bench.fingerprint}
    share = _kept(folder / "forward_share.json", made_from, lambda: forward_share(bench.descriptor))
    return costs, float(share)


def _cost(bench: Bench, arm: Arm, sources: Sequence[SourceImage], folder: Path, size: str) -> Cost:
    config = bench.config_of(arm)
    made_from = {
        "activation": asdict(arm.activation),
        "descriptor": bench.fingerprint,
        "index": bench.inputs,
        "entries": config.index.entries,
        "format": [config.save_format, config.save_quality],
        "seed": config.seed,
        "workers": bench.workers,
        "sources": [(source.name, identity.sha256_file(source.path)) for source in sources],
    }

    def measured() -> dict[str, Any]:
        print(f"cost of {arm.spec}, {len(sources)} photos, {size}", file=sys.stderr)
        return measure(config, sources, bench.descriptor, bench.index, bench.workers).stored()

    path = folder / f"{arm.folder} {size}.json"
    return Cost(**_kept(path, made_from, measured))


def _kept(path: Path, made_from: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """What a file keeps, computed when it is missing or was made from something else."""
    made_by = identity.fingerprint(made_from)
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["made_from"] == made_by:
            return kept["value"]
    value = compute()
    atomic.write_json(path, {"made_from": made_by, "value": value})
    return value


def _written(
    arguments: argparse.Namespace,
    bench: Bench,
    outcomes: Sequence[Outcome],
    costs: tuple[dict[tuple[str, str], Cost], float],
) -> str:
    """Write tables and figures; the text of the page."""
    folder = arguments.output_dir
    attacks = tables.attack_rows(outcomes)
    summary = tables.summary_rows(outcomes, arguments.bootstrap, arguments.seed)
    tables.write_rows(folder / "bench_activation.csv", attacks)
    tables.write_rows(folder / "bench_activation_summary.csv", summary)
    for quality in QUALITIES:
        _save(recall_against(quality, pd.DataFrame(summary)), folder / f"recall_{quality}.png")
    parts = [_header(arguments, bench), tables.markdown("Recall and quality", summary, tables.SHOWN)]
    parts.append(tables.markdown("R@1 per attack", tables.attack_table(outcomes, label)))
    if costs[0]:
        rows = tables.cost_rows(*costs)
        tables.write_rows(folder / "bench_activation_cost.csv", rows)
        scaled = [row for row in rows if row["size"] != OWN_SIZE] or rows
        _save(seconds_against_megapixels(pd.DataFrame(scaled)), folder / "seconds_megapixels.png")
        parts.append(tables.markdown("Seconds per image on one thread", rows))
        parts.append(f"A pass that goes forward only counts {costs[1]:.2f}.\n")
    return tables.write_page(folder / "bench_activation.md", parts)


def _header(arguments: argparse.Namespace, bench: Bench) -> str:
    """What was measured, in a few sentences."""
    queries = "none" if arguments.query_nonmatch_dir is None else str(arguments.query_nonmatch_dir.name)
    return (
        f"{len(bench.sources)} images, descriptor {bench.descriptor.name}, index {arguments.idx_factory} "
        f"({arguments.quant}) with {bench.index.ntotal:,} references and "
        f"{arguments.entries} code(s) per image, released as {arguments.save_format}, "
        f"seed {arguments.seed}; intervals are 95 % over images.\n\n"
        f"Seen: attacks whose kind is among the robust method's random edits ({', '.join(SEEN)}). "
        f"Unseen: {', '.join(UNSEEN)}. The copy without an edit is neither. uAP: one random chain per image; "
        f"queries without a match: {queries}.\n"
    )


def _save(figure: Any, path: Path) -> None:
    with atomic.atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=150)


if __name__ == "__main__":
    run_program(main)
