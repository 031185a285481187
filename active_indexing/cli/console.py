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
    before = {(row["attack"], row["attack_param"]): row for row in content.get("passive_retrieval", [])}
    head = f"{'attack':<26}{'param':>8}{'n':>7}{'R@1':>8}{'R@10':>8}{'R@100':>8}{'AP':>8}"
    lines = [head + (f"{'R@1 passive':>13}" if before else "")]
    for row in table:
        figures = "".join(f"{row[key]:>8.3f}" for key in ("r@1", "r@10", "r@100", "ap"))
        lines.append(f"{row['attack']:<26}{row['attack_param']:>8}{row['n']:>7}{figures}")
        unchanged = before.get((row["attack"], row["attack_param"]))
        lines[-1] += f"{unchanged['r@1']:>13.3f}" if unchanged else ""
    means = [sum(row[key] for row in table) / len(table) for key in ("r@1", "r@10", "r@100", "ap")]
    lines.append(f"{'mean of attacks':<41}" + "".join(f"{mean:>8.3f}" for mean in means))
    if before:
        lines[-1] += f"{sum(row['r@1'] for row in before.values()) / len(before):>13.3f}"
        lines.append(_compared(table, list(before.values())))
    return lines


def _compared(table: list[dict[str, Any]], before: list[dict[str, Any]]) -> str:
    text = "R@1 passive: the same images without activation, searched among the same references"
    most, others = max(row["n"] for row in table), max(row["n"] for row in before)
    if others < most:
        text += f"; {others:,} of {most:,} images, whose inputs are still there"
    return text


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
