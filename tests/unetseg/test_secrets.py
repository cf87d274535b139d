"""Secrets are in nobody's output: not in what is written, not in what is logged, not in errors."""

from __future__ import annotations

import logging
import shutil
import socket
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from unetseg.config import Settings
from unetseg.errors import UsageError
from unetseg.evaluate import evaluate
from unetseg.gate import gate
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import Project, load_project, override
from unetseg.storage import locate, refresh, refuse_password

SECRET = "hunter2Hunter2HUNTER2"
WHERE = (  # what operators set, by the names that the packages know
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY", "PGPASSWORD", "POSTGRES_PASSWORD",
    "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
)  # fmt: skip


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has them."""
    for name in WHERE:
        monkeypatch.setenv(name, f"postgresql+asyncpg://me:{SECRET}@db/a" if name.endswith("URL") else SECRET)


def holding_it(folder: Path) -> Iterator[str]:
    """The files below a folder that hold the secret, also inside of archives."""
    for path in filter(Path.is_file, folder.rglob("*")):
        parts = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as stored:
                parts += [stored.read(name) for name in stored.namelist()]
        if any(SECRET.encode() in part for part in parts):
            yield str(path.relative_to(folder))


def test_these_tests_find_a_secret(tmp_path: Path):
    (tmp_path / "a.txt").write_text(f"x{SECRET}x")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as stored:
        stored.writestr("c", SECRET * 100)
    assert sorted(holding_it(tmp_path)) == ["a.txt", "b.zip"]


# --------------------------------------------------------------------------- addresses

ADDRESSES = (
    f"s3://me:{SECRET}@bucket/scans",
    f"s3://me:a/b+{SECRET}@bucket/scans",
    f"s3://:{SECRET}@bucket",
    f"s3://me:x@{SECRET}@bucket/scans",
    f"https://host/scans?X-Amz-Signature={SECRET}",
    f"https://host/scans?a=b&sig={SECRET}",
    f"abfs://container/a?sas_token={SECRET}",
)
each_address = pytest.mark.parametrize(
    "address", ADDRESSES, ids=["plain", "slash", "no name", "at", "signed", "sas", "token"]
)


@each_address
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str):
    with pytest.raises(UsageError, match="an address holds no password") as caught:
        locate(address)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a:b@c",
        "hdfs://host:8020/a@b",
        "s3://bucket/mail@lab/scans",
        "s3://bucket/which?/a",
        "a:b@c",
        "s3://b",
    ],
)
def test_other_addresses_may_hold_these_signs(address: str):
    refuse_password(address)


@each_address
@pytest.mark.parametrize("setting", ["nightly.predict_folder", "nightly.predict_out", "predict.guides"])
def test_settings_which_each_model_keeps_hold_no_secret(tmp_path: Path, address: str, setting: str):
    texts = {"nightly.predict_folder": "s3://a", "nightly.predict_out": "s3://b"} | {setting: address}
    lines = [f"{name.replace('.', ': {')}: '{text}'}}" for name, text in texts.items() if name.startswith("predict")]
    folders = (f"{name.rpartition('.')[2]}: '{text}'" for name, text in texts.items() if name.startswith("nightly"))
    lines.append(f"nightly: {{{', '.join(folders)}}}")
    (tmp_path / "unetseg.yaml").write_text("schema_version: 1\nsources: {scans: {path: a}}\n" + "\n".join(lines))
    given = [f"{name}={text}" for name, text in texts.items()]
    for attempt in (lambda: load_project(tmp_path), lambda: override(Settings(), given)):
        with pytest.raises(UsageError, match="an address holds no password") as caught:
            attempt()
        assert SECRET not in str(caught.value)


@each_address
def test_sources_hold_no_secret(tmp_path: Path, address: str):
    with pytest.raises(UsageError, match="an address holds no password") as caught:
        init(Path(address) if "://" not in address else address, tmp_path, project=tmp_path / "p")  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)
    assert not (tmp_path / "p").exists()


# --------------------------------------------------------------------------- what is left


@pytest.mark.usefixtures("secrets")
def test_what_the_steps_write_and_log_holds_no_secret(
    trained: Project, eyes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    from unetseg.predict import predict

    caplog.set_level(logging.DEBUG)
    shutil.rmtree(trained.dataset)
    ingest(trained)
    evaluate(trained, model="latest")
    gate(trained)
    bundle, out = trained.models / "0001", tmp_path / "out"
    predict(eyes / "scans", out, bundle=bundle, config=trained.prediction, project=trained.folder)
    names = {path.name for path in (*trained.folder.rglob("*"), *(tmp_path / "out").rglob("*"))}
    wanted = {"run.json", "bundle.json", "evaluation.json", "report.html", "gate.json", "index.json", "gallery.html"}
    assert wanted <= names
    assert list(holding_it(trained.folder)) == []
    assert list(holding_it(tmp_path / "out")) == []
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("secrets")
def test_a_store_that_does_not_answer_is_told_of_without_its_keys(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from s3fs import S3FileSystem

    caplog.set_level(logging.INFO)  # botocore tells of the headers of its requests at DEBUG, which nobody sets unasked
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(S3FileSystem, "retries", 1)
        S3FileSystem.clear_instance_cache()
        with pytest.raises(OSError, match="s3://nobody-there") as caught:
            refresh(locate("s3://nobody-there/scans"))
    S3FileSystem.clear_instance_cache()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in caplog.text
