"""Damaged and hostile inputs, for a few minutes: `make fuzz`, with FUZZ_MINUTES for more or less.

Whatever is read gives a result that agrees with itself, or one of unetseg's own errors that names the file: never
another error, no hang, no memory before a size is known, nothing written elsewhere, no code run. What was found so far
is among the other tests; inputs of new finds lie in ``build/fuzz``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz import networks, outputs, samples
from tests.fuzz.campaign import Campaign, campaign_seconds
from tests.fuzz.samples import as_text, changed_json, damaged, put, scan_samples, values, zarr_samples
from tests.fuzz.targets import ENCODINGS
from unetseg.config import ClassSource, ScanSource, Settings, Sources, to_plain

pytestmark = pytest.mark.fuzz

_SUFFIX = {"b.nii": ".nii", "a.nii.gz": ".nii.gz"}
Lay = Callable[[Path, Any], str]


# --------------------------------------------------------------------------- pictures


def _suffix(name: str) -> str:
    return name[name.index(".") :]


def lay_scan(folder: Path, made: tuple[str, bytes]) -> str:
    put(folder, {f"scan{_suffix(made[0])}": made[1]})
    return "scans"


def gzipped_volumes() -> SearchStrategy[tuple[str, bytes]]:
    volumes = {name: data for name, data in scan_samples().items() if name.endswith(".nii")}
    return damaged(lambda: volumes).map(lambda made: ("a.nii.gz", samples.packed(made[1])))


def zarr_folders() -> SearchStrategy[tuple[str, dict[str, bytes]]]:
    """Folders of which one file is damaged, or one JSON file is changed."""
    whole = zarr_samples()
    files = {f"{name}|{inside}": data for name, folder in whole.items() for inside, data in folder.items()}
    texts = {name: json.loads(data) for name, data in files.items() if name.endswith(("json", ".zarray", ".zattrs"))}
    changed = st.sampled_from(sorted(texts)).flatmap(
        lambda name: changed_json(st.just(texts[name])).map(lambda value: (name, as_text(value)))
    )

    def replaced(made: tuple[str, bytes]) -> tuple[str, dict[str, bytes]]:
        name, _, inside = made[0].partition("|")
        return name, whole[name] | {inside: made[1]}

    return st.one_of(changed, changed, damaged(lambda: files)).map(replaced)


def lay_zarr(folder: Path, made: tuple[str, dict[str, bytes]]) -> str:
    put(folder / "scan.zarr", made[1])
    return "scans"


def lay_mask(folder: Path, made: tuple[str, tuple[str, bytes]]) -> str:
    encoding, (name, data) = made
    put(folder, {f"masks/a{_suffix(name)}": data, "encoding.json": as_text(encoding)})
    return "masks"


# --------------------------------------------------------------------------- settings and tables


def sound_project() -> dict[str, Any]:
    sources = Sources(ScanSource("scans"), (ClassSource("iris", "masks", "{id}_mask.*", "labels", ("1", "2")),))
    return {"schema_version": 1, "sources": to_plain(sources), **to_plain(Settings())}


def yaml_texts() -> SearchStrategy[bytes]:
    sound = yaml.safe_dump(sound_project()).encode()
    changed = changed_json(st.just(sound_project())).map(
        lambda value: yaml.dump(value, allow_unicode=True).encode("utf-8", "replace")
    )
    scalars = st.sampled_from(
        ["2026-13-45", "1:99:99", "!!int x", "!!binary x", "!!timestamp a", "&a [*a]", "<<: 1", "? [a]", "9" * 5000,
         "!!set {a, b}", "*b", "0b", "0o9", "!!float _", "\x00", "!!omap [a]", "[" * 3000, "{a: " * 3000, "- " * 3000]
    )  # fmt: skip
    spliced = st.tuples(st.integers(0, len(sound)), scalars).map(
        lambda made: sound[: made[0]] + b" " + made[1].encode() + b"\n" + sound[made[0] :]
    )
    return st.one_of(changed, changed, spliced, damaged(lambda: {"a.yaml": sound}).map(lambda made: made[1]))


def lay_yaml(folder: Path, text: bytes) -> str:
    put(folder, {"unetseg.yaml": text})
    return "project"


def override_texts() -> SearchStrategy[list[str]]:
    plain = to_plain(Settings())
    names = [f"{section}.{name}" for section, fields in plain.items() for name in fields] + ["train", "a.b", "."]
    shown = st.one_of(values.map(str), st.sampled_from(["true", "1", "0.5", "[]", "{}", "1,2", "a=b", "[1, 2]"]))
    return st.lists(st.tuples(st.sampled_from(names), shown).map("=".join), max_size=3)


def lay_overrides(folder: Path, texts: list[str]) -> str:
    put(folder, {"overrides.json": as_text(texts)})
    return "overrides"


def table_texts() -> SearchStrategy[tuple[str, bytes]]:
    tables = {
        "a.csv": b"scan,group,split\na.png,g,train\nb/c,h,test\n",
        "b.csv": b'\xef\xbb\xbfscan;group\n"a";g\n../b;h\n',
        "c.tsv": b"scan\tsplit\r\na\tval\r\nb/c\ttest\r\n",
        "d.txt": b"# list\na.png\n/data/b.tif\n../c.tif\n~/d.tif\n",
    }
    return damaged(lambda: tables)


def lay_table(folder: Path, made: tuple[str, bytes]) -> str:
    put(folder, {made[0]: made[1]})
    return "tables"


# --------------------------------------------------------------------------- what unetseg writes itself


def bundles() -> SearchStrategy[dict[str, bytes]]:
    """Bundles of which any part is changed, with the right digests."""
    network = st.one_of(damaged(outputs.bundle_files), keras_files().map(lambda data: ("model.keras", data)))
    curves = st.one_of(
        st.just(outputs.curve_bytes()), damaged(lambda: {"a": outputs.curve_bytes()}).map(lambda made: made[1])
    )
    about = st.one_of(st.just(outputs.bundle_json()), changed_json(st.just(outputs.bundle_json())))
    scores = st.one_of(st.just(outputs.evaluation_json()), changed_json(st.just(outputs.evaluation_json())))
    extra = st.one_of(
        st.just({}), st.dictionaries(st.sampled_from(["../a", "/etc/passwd", "a\0", "", ".", "x"]), values, max_size=1)
    )
    return st.tuples(network, about, scores, curves, extra).map(_bundle)


def keras_files() -> SearchStrategy[bytes]:
    """Networks whose description is changed."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(outputs.bundle_files()["model.keras"])) as sound:
        files = {name: sound.read(name) for name in sound.namelist()}
    config = changed_json(st.just(json.loads(files["config.json"])))
    return config.map(lambda value: samples.archive(files | {"config.json": as_text(value)}))


def _bundle(made: Any) -> dict[str, bytes]:
    (name, data), about, scores, curves, extra = made
    files = outputs.bundle_files() | {name: data}
    digests = {item: sha256(content).hexdigest() for item, content in files.items()}
    curve = f"test_curves-{sha256(curves).hexdigest()[:12]}.npz"
    if isinstance(about, dict):
        about = about | {"files": digests | extra}
    if isinstance(scores, dict):
        scores = scores | {"files": {curve: sha256(curves).hexdigest()} | extra}
    return files | {
        "bundle.json": outputs.sealed(about),
        "evaluation/evaluation.json": outputs.sealed(scores),
        f"evaluation/{curve}": curves,
    }


def lay_bundle(folder: Path, files: dict[str, bytes]) -> str:
    put(folder, files)
    return "bundle"


def record_files() -> SearchStrategy[dict[str, bytes]]:
    """The JSON files of a project, of which one is changed or damaged."""
    sound = outputs.records()
    texts = {name: as_text(value) for name, value in sound.items()}
    changed = st.sampled_from(sorted(sound)).flatmap(
        lambda name: changed_json(st.just(sound[name])).map(lambda value: {name: as_text(value)})
    )
    deep = st.sampled_from(sorted(sound)).map(lambda name: {name: b"[" * 100_000})
    return st.one_of(changed, changed, changed, deep, damaged(lambda: texts).map(lambda made: {made[0]: made[1]})).map(
        lambda made: texts | made
    )


def lay_record(folder: Path, files: dict[str, bytes]) -> str:
    put(folder, files | {"models/0001/bundle.json": b"{}"})
    return "record"


def lay_markers(folder: Path, files: dict[str, bytes]) -> str:
    pixels = scan_samples()["a.pgm"]
    put(folder, files | {"a.pgm": pixels, "precious.txt": b"of somebody else", "out/kept.txt": b"not an output"})
    return "markers"


def registries() -> SearchStrategy[bytes]:
    """`aliases.json`, changed or damaged."""
    sound = outputs.records()["models/aliases.json"]
    line = {"time": "2030-01-02T03:04:05+00:00", "production": "0002", "previous": "0001", "why": "rolled back by hand"}
    sound = sound | {"previous": "0002", "history": [*sound["history"], line, line | {"removed": ["0003"]}, line]}
    changed = changed_json(st.just(sound)).map(as_text)
    return st.one_of(changed, changed, damaged(lambda: {"a": as_text(sound)}).map(lambda made: made[1]))


def lay_registry(folder: Path, aliases: bytes) -> str:
    whole = _bundle((("replay.npz", outputs.bundle_files()["replay.npz"]), outputs.bundle_json(),
                     outputs.evaluation_json(), outputs.curve_bytes(), {}))  # fmt: skip
    put(folder, {f"models/{version}/{name}": data for version in ("0001", "0002") for name, data in whole.items()})
    put(folder, {"models/aliases.json": aliases, "9999/precious.txt": b"of somebody else"})
    return "registry"


def decisions() -> SearchStrategy[dict[str, bytes]]:
    """A bundle with its decision and evaluation, one of them changed, with the right digests; or damaged."""
    gate, scores = outputs.gate_json(), outputs.evaluation_json()
    texts = {"gate.json": outputs.sealed(gate), "evaluation/evaluation.json": outputs.sealed(scores)}
    made = st.one_of(
        changed_json(st.just(gate)).map(lambda value: {"gate.json": outputs.sealed(value)}),
        changed_json(st.just(scores)).map(lambda value: {"evaluation/evaluation.json": outputs.sealed(value)}),
        damaged(lambda: texts).map(lambda made: {made[0]: made[1]}),
    )
    about = outputs.bundle_json() | {
        "files": {n: sha256(data).hexdigest() for n, data in outputs.bundle_files().items()}
    }
    whole = outputs.bundle_files() | {"bundle.json": outputs.sealed(about)} | texts
    return made.map(lambda files: whole | files)


def lay_decision(folder: Path, files: dict[str, bytes]) -> str:
    put(folder, {f"models/0001/{name}": data for name, data in files.items()})
    put(folder, {"models/aliases.json": as_text(outputs.records()["models/aliases.json"])})
    return "decision"


def runs() -> SearchStrategy[bytes]:
    """`run.json`, changed or damaged."""
    sound = outputs.run_json(Path("/nowhere/out"))
    changed = changed_json(st.just(sound)).map(as_text)
    result = changed_json(st.just(sound["result"])).map(lambda value: as_text(sound | {"result": value}))
    return st.one_of(changed, result, damaged(lambda: {"a": as_text(sound)}).map(lambda made: made[1]))


def lay_run(folder: Path, text: bytes) -> str:
    pages = ("table.csv", "table.parquet", "scans.csv", "scans.parquet", "gallery.html")
    put(folder / "out", dict.fromkeys(pages, b"") | {"run.json": text})
    return "run"


# --------------------------------------------------------------------------- the command


def command_lines() -> SearchStrategy[list[str]]:
    """Commands on a project that is there, none of which starts work that takes long."""
    stages = ["init", "settings", "plan", "thresholds", "evaluate", "ingest", "predict", "promote", "rollback", "clean"]
    groups = ["models", "predictions", "list", "show", "promote", "rollback", "history", "compare", "forget", "redo"]
    options = ["--project", "--set", "--json", "--model", "--cluster-resource", "--processes", "--dry-run", "--help",
               "--on", "--masks", "--guides", "--overwrite", "--score", "--of", "--version", "-h", "--", "-x"]  # fmt: skip  # noqa: E501
    words = ["@/project", "@/scans", "@", "@/nowhere", "0001", "production", "latest", "train.epochs=2", "train.epochs=x",  # noqa: E501
             "GPU=1", "GPU", "0", "-1", "a=b", "", "predict.pattern=[", "sources.scans=1", "9" * 400]  # fmt: skip
    known = st.sampled_from(["models", "predictions", *stages, *groups])
    rest = st.lists(
        st.one_of(st.sampled_from(options), st.sampled_from(words), st.sampled_from(words), st.text(max_size=8)),
        max_size=7,
    )
    return st.tuples(st.lists(known, min_size=1, max_size=2), rest).map(lambda made: [*made[0], *made[1]])


def lay_command(folder: Path, arguments: list[str]) -> str:
    sound = {"schema_version": 1, "sources": {"scans": {"path": "../scans"}}}
    put(folder, {"arguments.json": as_text(arguments), "scans/a.pgm": scan_samples()["a.pgm"]})
    put(folder, {"project/unetseg.yaml": yaml.safe_dump(sound).encode()})
    return "command"


CAMPAIGNS: dict[str, tuple[Callable[[], SearchStrategy[Any]], Lay, int]] = {
    # what is made, how it is laid into a folder, share of the time
    "scans": (lambda: damaged(scan_samples), lay_scan, 6),
    "gzipped volumes": (gzipped_volumes, lay_scan, 1),
    "Zarr folders": (zarr_folders, lay_zarr, 3),
    "masks": (lambda: st.tuples(st.sampled_from(ENCODINGS), damaged(scan_samples)), lay_mask, 3),
    "unetseg.yaml": (yaml_texts, lay_yaml, 2),
    "--set": (override_texts, lay_overrides, 1),
    "tables": (table_texts, lay_table, 1),
    "bundles": (bundles, lay_bundle, 2),
    "records": (record_files, lay_record, 2),
    "registry": (registries, lay_registry, 1),
    "decisions of the gate": (decisions, lay_decision, 1),
    "run.json": (runs, lay_run, 1),
    "networks of Keras": (networks.keras_networks, networks.lay_network, 3),
    "exports to OpenVINO": (networks.exports, networks.lay_export, 3),
    "trainings to go on from": (networks.trainings, networks.lay_training, 2),
    "folders of outputs": (record_files, lay_markers, 2),
    "command lines": (command_lines, lay_command, 2),
}


NEED_KERAS = {"networks of Keras", "exports to OpenVINO", "trainings to go on from"}


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_what_is_read_is_sound_or_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, lay, share = CAMPAIGNS[name]
    with Campaign(name, "tests.fuzz.network_targets" if name in NEED_KERAS else "tests.fuzz.targets") as campaign:
        report = campaign.run(
            make(), lay, seconds=share * campaign_seconds(sum(item[2] for item in CAMPAIGNS.values()))
        )
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201 (what was done is what people ask for)
    assert report.examples, "no example was made"
    finds = [f"{kept}\n{detail}" for _, kept, detail in report.finds.values()]
    assert not finds, "\n\n".join(finds)
