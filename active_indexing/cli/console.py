"""What a run tells at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from active_indexing.dry_run import DryRun


def summary_text(content: dict[str, Any], output_dir: Path) -> str:
    """A few lines and a table.

    Args:
        content: of ``run.json``.
        output_dir: where the files are.
    """
    lines = [
        _counts(content),
        *_sample(content),
        *_retrieval(content),
        *_copy_detection(content),
        *_failed(content),
    ]
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in content["seconds"].items())
    lines += [f"time: {seconds}", f"everything is in {output_dir}"]
    return "\n".join(lines)


def forecast_text(forecast: DryRun, output_dir: Path) -> str:
    """What ``--dry_run`` tells, a line each.

    Args:
        forecast: of the run.
        output_dir: where the run would write.
    """
    megapixels = sum(pixels for _, pixels in forecast.images) / 1e6
    lines = [f"skipped {path}: {reason}" for path, reason in forecast.skipped]
    lines.append(
        f"images: {len(forecast.images):,} of {megapixels:,.1f} megapixels in all, {len(forecast.skipped):,} "
        "skipped (by their headers; a file that is damaged further on is found by the run)"
    )
    if forecast.done:
        lines.append(f"released already: {forecast.done:,}, which are not released again")
    how = f"measured on {forecast.measured} of them, {forecast.threads} at the same time"
    if not forecast.measured:
        how = f"from earlier measurements on a core, as {forecast.why_not_measured}"
    lines.append(f"time: about {_duration(forecast.seconds)} ({how})")
    wanted = forecast.image_bytes + forecast.other_bytes
    lines.append(
        f"disk: about {_size(wanted)} in {output_dir}, {_size(forecast.image_bytes)} of it images; "
        f"{_size(forecast.free_bytes)} are free"
    )
    if wanted > forecast.free_bytes:
        lines.append("warning: the disk is too small; choose another --output_dir, or --save_format same.")
    return "\n".join([*lines, "nothing was written"])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _counts(content: dict[str, Any]) -> str:
    quality = content["quality"]
    arm = "active" if content["config"]["active"] else "passive"
    text = f"{arm}: {quality['released']} images released, {quality['skipped']} skipped"
    if quality["skipped"]:
        text += " (manifest.csv says why)"
    if "psnr" in quality:
        psnr, linf = quality["psnr"], quality["linf"]
        text += f"; PSNR {psnr['mean']:.2f} ± {psnr['std']:.2f} dB, SSIM {quality['ssim']['mean']:.4f}"
        text += f", L-inf {linf['mean']:.1f} (most {linf['max']:.0f})"
    if "ssimulacra2" in quality:
        seen = quality["ssimulacra2"]
        text += f"; SSIMULACRA2 {seen['mean']:.1f} (worst {seen['min']:.1f})"
    return text


def _sample(content: dict[str, Any]) -> list[str]:
    sample = content["sample"]
    if not 0 < sample["evaluated"] < sample["released"]:
        return []
    text = f"evaluated: {sample['evaluated']:,} of {sample['released']:,} images, drawn by id"
    return [f"{text} (--eval_sample all for every one)"]


def _retrieval(content: dict[str, Any]) -> list[str]:
    table = content.get("retrieval")
    if not table:
        return []
    beside = {
        name: {(row["attack"], row["attack_param"]): row for row in content[key]}
        for name, key in _BESIDE.items()
        if content.get(key)
    }
    head = f"{'attack':<26}{'param':>8}{'n':>7}{'R@1':>8}{'R@10':>8}{'R@100':>8}{'AP':>8}"
    lines = [head + "".join(f"{'R@1 ' + name:>13}" for name in beside)]
    for row in table:
        figures = "".join(f"{row[key]:>8.3f}" for key in ("r@1", "r@10", "r@100", "ap"))
        lines.append(f"{row['attack']:<26}{row['attack_param']:>8}{row['n']:>7}{figures}")
        for rows in beside.values():
            other = rows.get((row["attack"], row["attack_param"]))
            lines[-1] += f"{other['r@1']:>13.3f}" if other else " " * 13
    means = [sum(row[key] for row in table) / len(table) for key in ("r@1", "r@10", "r@100", "ap")]
    lines.append(f"{'mean of attacks':<41}" + "".join(f"{mean:>8.3f}" for mean in means))
    for rows in beside.values():
        lines[-1] += f"{sum(row['r@1'] for row in rows.values()) / len(rows):>13.3f}"
    return lines + [
        _compared(_MEANT[name], table, list(rows.values()), _FEWER[name]) for name, rows in beside.items()
    ]


_BESIDE = {"passive": "passive_retrieval", "views": "views_retrieval"}
_MEANT = {
    "passive": "R@1 passive: the same images without activation, searched among the same references",
    "views": "R@1 views: the same index asked as `active-indexing query` asks, in parts of the copy too",
}
_FEWER = {"passive": ", whose inputs are still there", "views": " (--eval_views all for every one)"}


def _compared(text: str, table: list[dict[str, Any]], others: list[dict[str, Any]], fewer: str) -> str:
    most, count = max(row["n"] for row in table), max(row["n"] for row in others)
    return f"{text}; {count:,} of {most:,} images{fewer}" if count < most else text


def _copy_detection(content: dict[str, Any]) -> list[str]:
    table = content.get("copy_detection")
    if not table:
        return []
    text = f"copy detection: uAP {table['uAP']:.3f}, {table['matching']} matching queries"
    text += f" and {table['non_matching']} others"
    if not table["non_matching"]:
        text += " (give --query_nonmatch_dir for a figure that means something)"
    return [text]


def _failed(content: dict[str, Any]) -> list[str]:
    failed = content["failed_attacks"]
    if not failed:
        return []
    told = ", ".join(f"{name} {count}" for name, count in failed.items())
    return [f"attacks that failed and are left out (failures.csv says why): {told}"]
