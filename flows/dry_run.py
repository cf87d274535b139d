"""What `unetseg predict --dry-run` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.answers import finish
from flows.console import Console

if TYPE_CHECKING:
    from unetseg.predict_estimate import PredictEstimate

__all__ = ["dry_run_predict"]


def dry_run_predict(  # noqa: PLR0913 (options by keyword)
    console: Console,
    scans: Path,
    out: Path,
    bundle: Path,
    config: Any,  # noqa: ANN401 (its type would load pydantic, which `--help` does not need)
    *,
    cluster: str,
    project: Path | None,
    overwrite: bool,
) -> None:
    """Say what a prediction would do and cost, and which files will fail.

    Args:
        console: to say it on.
        scans: folder of scans.
        out: where the outputs would go.
        bundle: folder of the model.
        config: settings of the prediction.
        cluster: address of a running Dask scheduler; empty: this machine does it.
        project: folder of the project whose masks and guides are no scans; None: every image is one.
        overwrite: whether scans would be done again that are up to date.
    """
    from unetseg.predict_estimate import estimate

    found = estimate(scans, out, bundle=bundle, config=config, cluster=cluster, project=project, overwrite=overwrite)
    stacks = f" ({found.stacks} of them stacks, with {found.pages} pages together)" if found.stacks else ""
    whose = " for this process, which hands the work to the cluster" if cluster else ""
    console.say(
        f"{found.scans} scans{stacks}, {found.pixels / 1e6:.1f} megapixels, {found.up_to_date} of them up to date; "
        f"the others take about {found.seconds:.0f} s, {_disk(found)} of disk and "
        f"{found.memory_bytes / 1e6:.0f} MB of memory{whose}"
    )
    console.say(f"time is of the work done {found.by}")
    for warning in found.warnings:
        console.say(f"look at this: {warning}")
    for item in found.quarantined:
        console.say(f"will fail: {item}")
    console.say("nothing was written")
    finish(console, found, bad=list(found.quarantined))


def _disk(found: PredictEstimate) -> str:
    """How much, and how much that may be."""
    told, least, most = (f"{size / 1e6:.1f}" for size in (found.disk_bytes, *found.disk_range))
    return f"{told} MB" if least == most else f"{told} MB ({least} to {most} MB)"
