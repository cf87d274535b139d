"""What every unit of a prediction needs to know."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from unetseg.bundle import Bundle, BundleInfo
from unetseg.config import GuideSource, PredictConfig, to_plain
from unetseg.decisions import Decision
from unetseg.engine_choice import settled
from unetseg.engines import Engine, engine_for
from unetseg.guide_folders import guides_below
from unetseg.scratch import claim_folder, is_shared, scratch_folder
from unetseg.segment import Segmenter
from unetseg.storage import file_hash, locate, text_hash
from unetseg.tile_size import tile_side

__all__ = ["LEAVES_OUTPUTS", "SCHEMA_VERSION", "Job", "claim_scratch", "make_job"]

SCHEMA_VERSION = 3
"""Of the outputs and records of a prediction: another one makes all outputs out of date."""

LEAVES_OUTPUTS = frozenset(
    {
        *("engine", "pattern", "exclude", "guides", "workers", "batch", "processes", "resource", "scratch", "tile"),
        *("max_failed_fraction", "max_scan_gigabytes"),
    }
)
"""Settings that say which scans are segmented, and how fast: with any other one changed, outputs are out of date.
Another engine or tile gives the same but for rounding, unless tiles are blended: then their size does count. The files
of guides are known by their content."""

_DIGITS = 16  # of a hash: names of scans may be too long for one folder, or mean several


@dataclass(frozen=True)
class Job:
    """Small, so that it can travel to other machines.

    Attributes:
        bundle: folder of the model.
        info: of the bundle.
        decision: what a pixel is.
        out: folder of the outputs.
        scratch: folder on a disk for what is made of a scan in parts, until all are there.
        shared: whether all workers of a cluster see that folder.
        guides: where the guides of the scans are.
        config: the settings, with the precision and the tile that all workers are to use.
        signature: hash of all that an output depends on besides its scan.
        digest: of the bundle; empty before its schema 3.
        renewal: name of the overwriting that goes on (`unetseg.predict_folder`); empty: what is up to date stays.
    """

    bundle: Path
    info: BundleInfo
    decision: Decision
    out: Path
    scratch: Path
    shared: bool
    guides: tuple[GuideSource, ...]
    config: PredictConfig
    signature: str
    digest: str = ""
    renewal: str = ""

    def unfinished(self, scan: str) -> Path:
        """Where all parts of a scan, or the pages of a stack, are until all of it is there."""
        return self.scratch / text_hash(scan)[:_DIGITS]

    def parts(self, scan: str, *of: object) -> Path:
        """Where those parts are that this model and these settings make.

        In a folder of their own, since a worker may still be at work that a killed command has left behind.

        Args:
            scan: its id.
            of: what the parts are made from besides.
        """
        return self.unfinished(scan) / text_hash(self.signature, self.renewal, of)[:_DIGITS]

    def segmenter(self) -> Segmenter:
        """The model, opened once in each process."""
        engine = _engine(self.bundle, self.config, self.signature)
        return Segmenter(engine, self.info, self.decision, self.config.tile)


def make_job(model: Bundle, out: Path, config: PredictConfig) -> Job:
    """Everything that units share.

    Args:
        model: the bundle.
        out: folder of the outputs.
        config: the settings.
    """
    config = replace(settled(config, model.folder), tile=tile_side(model.info, config.tile))
    known = [GuideSource(name=name, path=config.guides) for name in model.info.guides]
    return Job(
        bundle=model.folder.absolute(),
        info=model.info,
        decision=model.decision,
        out=out.absolute(),
        scratch=scratch_folder(out.absolute(), config.scratch),
        shared=is_shared(out, config.scratch),
        guides=guides_below(locate(config.guides), known, given="predict.guides") if known else (),
        config=config,
        signature=_signature(model, config),
        digest=model.digest,
    )


def claim_scratch(job: Job) -> None:
    """Make the folder for what is unfinished, where it is among everybody's temporary files: for this user alone.

    Raises:
        UsageError: another user has made it.
    """
    if not job.shared:
        claim_folder(job.scratch)


@lru_cache(maxsize=1)
def _engine(bundle: Path, config: PredictConfig, signature: str) -> Engine:
    """The engine of a job, whose signature tells bundles apart: they need not be read for every scan to do that."""
    return engine_for(bundle, config)


def _signature(model: Bundle, config: PredictConfig) -> str:
    plain = to_plain(config)
    settings = {name: value for name, value in plain.items() if name not in LEAVES_OUTPUTS}
    if not model.info.exact:
        settings["tile"] = config.tile
    decision = asdict(model.decision) if model.decision.rule == "thresholds" else "argmax"
    return text_hash(SCHEMA_VERSION, file_hash(model.folder / "bundle.json"), decision, settings)
