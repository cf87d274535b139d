from dataclasses import replace

import pytest
import yaml

from unetseg.config import ClassSource, EvaluateConfig, GuideSource, ScanSource, Settings, Sources, TrainConfig
from unetseg.errors import UsageError
from unetseg.project import Project, load_project, merge_settings, override, save_project


def make(folder, scans="scans"):
    sources = Sources(
        ScanSource(str(folder / scans), channels=("red", "green"), group=r"^(\w+)/"),
        (ClassSource("iris", str(folder / "masks"), encoding="labels", values=("1", "2")),),
        (GuideSource("lid", "/elsewhere/lid", pattern="{id}_lid.*"),),
    )
    return Project(folder, sources, Settings(train=TrainConfig(epochs=3, learning_rate=1e-05)))


def write(folder, text):
    (folder / "unetseg.yaml").write_text(text)
    return folder


def fails(folder, *overrides):
    """The message of the error, which must be one line that names the file or the option."""
    with pytest.raises(UsageError) as caught:
        load_project(folder, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "unetseg.yaml" in message or "--set" in message
    return message


VALID = "schema_version: 1\nsources:\n  scans: {path: scans}\n"


def test_a_project_comes_back_as_it_was_saved(tmp_path):
    project = make(tmp_path)
    assert save_project(project) == tmp_path / "unetseg.yaml"
    assert load_project(tmp_path) == project


def test_only_what_differs_from_the_defaults_is_written(tmp_path):
    content = yaml.safe_load(save_project(make(tmp_path)).read_text())
    assert content["schema_version"] == 1
    assert {name: set(content[name]) for name in content if name not in ("schema_version", "sources")} == {
        "train": {"epochs", "learning_rate"}
    }


def test_paths_inside_the_project_are_relative_and_others_absolute(tmp_path):
    sources = yaml.safe_load(save_project(make(tmp_path)).read_text())["sources"]
    assert sources["scans"]["path"] == "scans"
    assert sources["classes"][0]["path"] == "masks"
    assert sources["guides"][0]["path"] == "/elsewhere/lid"


def test_a_project_can_move(tmp_path):
    (tmp_path / "a").mkdir()
    save_project(make(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert load_project(tmp_path / "b").sources.scans.path == str(tmp_path / "b" / "scans")


def test_the_parts_of_a_project_lie_in_its_folder(tmp_path):
    project = make(tmp_path)
    assert (project.dataset, project.models, project.runs) == (
        tmp_path / "dataset.zarr",
        tmp_path / "models",
        tmp_path / "runs",
    )


def test_a_missing_project_says_how_to_make_one(tmp_path):
    message = fails(tmp_path / "here")
    assert f"no such file, so {tmp_path / 'here'} is no project; look at the path of --project" in message
    assert message.endswith("project's folder; a new one is made with: unetseg init SCANS MASKS --project FOLDER")


@pytest.mark.parametrize(
    ("there", "given", "named"),
    [
        pytest.param("my eyes", "my eys", True, id="misspelt"),
        pytest.param("lab/my eyes", "lab", True, id="the-folder-above"),
        pytest.param("my eyes", "lungs", False, id="another-name"),
    ],
)
def test_where_no_project_is_one_near_it_is_named(tmp_path, there, given, named):
    (tmp_path / there).mkdir(parents=True)
    write(tmp_path / there, VALID)
    assert (f"folder, such as '{tmp_path / there}'; " in fails(tmp_path / given)) is named


def test_bad_yaml_is_one_line_with_its_place_and_problem(tmp_path):
    message = fails(write(tmp_path, "train: [1\nx: {"))
    where = f"{tmp_path / 'unetseg.yaml'}: not valid YAML: line 2, column 2: x: {{: "
    assert message == f"{where}a bracket is open; its end or a ',' is missing"


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "unetseg.yaml").write_bytes(b"\xff\xfe\xff")
    assert "not valid YAML" in fails(tmp_path)


def test_yaml_runs_no_code(tmp_path):
    write(
        tmp_path, f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{tmp_path}/x']]"
    )
    assert "not valid YAML" in fails(tmp_path)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "must hold sections such as 'sources:' and 'train:', found list"),
        ("", "found NoneType"),
        ("train: {}", "schema_version must be 1, found None; run unetseg init again"),
        ("schema_version: 2", "schema_version must be 1, found 2; run unetseg init again"),
        ("schema_version: 1", "sources: scans: Field required"),
        (VALID + "trian: {epochs: 3}", "trian: no such setting; did you mean 'train'? (there are: ingest, model"),
        (VALID + "train: {epoch: 3}", "train.epoch: no such setting; did you mean 'epochs'? (there are: epochs,"),
        (VALID + "train: {epochs: -1}", "train.epochs: Input should be greater than or equal to 0, found -1"),
        (VALID + "train: {epochs: many}", "train.epochs: Input should be a valid integer"),
        (
            VALID + "  classes: [{name: a, path: m, values: 2}]",
            "sources: classes.0.values: Input should be a list, such as ['a', 'b'], found 2",
        ),
        (VALID + "train: 3", "train: Input should be a dictionary or an instance of TrainConfig, found 3"),
        (VALID + "ingest: {normalisation: log}", "Input should be 'percentile', 'zscore', 'minmax', 'fixed' or 'none'"),
        (VALID + "ingest: {fixed_low: 300}", "ingest: fixed_high must be above fixed_low, found 255.0 and 300.0"),
        (
            "schema_version: 1\nsources: {scans: {pth: a}}",
            "sources: scans.pth: no such setting; did you mean 'path'? (there are: path, pattern, exclude, channels, "
            "group, table)",
        ),
        (
            VALID + "  classes: [{name: a, path: m}, {name: b, path: m, encodng: binary}]",
            "sources: classes.1.encodng: no such setting; did you mean 'encoding'? (there are: name, path, pattern, "
            "encoding, values)",
        ),
        (
            VALID + "  guides: [{name: a, pth: m}]",
            "sources: guides.0.pth: no such setting; did you mean 'path'? (there are: name, path, pattern)",
        ),
        (
            VALID + "  clases: []",
            "sources: clases: no such setting; did you mean 'classes'? (there are: scans, classes, guides)",
        ),
        (
            "schema_version: 1\nsorces: {}",
            "unetseg.yaml: sorces: no such setting; did you mean 'sources'? (there are: ",
        ),
        ("schema_version: 1\nsources: {scans: {path: a, group: '('}}", "scans.group: is no regular expression"),
        ("schema_version: 1\nsources: {scans: {path: a, channels: [/]}}", "'^[^\\W_][\\w .-]*$', found '/'"),
        ("schema_version: 1\nsources: 3", "sources: Input should be a dictionary"),
    ],
)
def test_wrong_files_are_named_with_setting_rule_and_value(tmp_path, text, message):
    assert message in fails(write(tmp_path, text))


def test_an_empty_section_means_defaults(tmp_path):
    assert load_project(write(tmp_path, VALID + "train:\n  # epochs: 3\n")).settings == Settings()


def test_a_source_in_an_object_store_stays_an_address(tmp_path):
    project = load_project(write(tmp_path, VALID.replace("path: scans", "path: s3://bucket/x")))
    assert project.sources.scans.path == "s3://bucket/x"


def test_a_source_in_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_project(write(tmp_path, VALID.replace("scans}", "~/s}"))).sources.scans.path == "/home/somebody/s"


# --------------------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("text", "section", "name", "value"),
    [
        ("train.epochs=20", "train", "epochs", 20),
        (" train.epochs = 20 ", "train", "epochs", 20),
        ("train.learning_rate=1e-3", "train", "learning_rate", 0.001),
        ("augment.flips=no", "augment", "flips", False),
        ("augment.flips=true", "augment", "flips", True),
        ("ingest.fixed_low=-3.5", "ingest", "fixed_low", -3.5),
        ("predict.pattern=*.tif", "predict", "pattern", "*.tif"),
        ("predict.pattern=a=b", "predict", "pattern", "a=b"),
        ("predict.guides=2024", "predict", "guides", "2024"),
        ("predict.guides=", "predict", "guides", ""),
    ],
)
def test_an_override_is_stronger_than_the_file(tmp_path, text, section, name, value):
    found = getattr(getattr(load_project(write(tmp_path, VALID), [text]).settings, section), name)
    assert found == value
    assert type(found) is type(value)


def test_overrides_change_nothing_else_and_the_last_one_wins():
    before = Settings(train=TrainConfig(seed=7))
    after = override(before, ["train.epochs=20", "train.epochs=21", "evaluate.beta=2"])
    assert after == Settings(train=TrainConfig(seed=7, epochs=21), evaluate=EvaluateConfig(beta=2))
    assert before == Settings(train=TrainConfig(seed=7))


def test_two_overrides_that_are_only_right_together_are_taken():
    found = override(Settings(), ["ingest.fixed_low=1000", "ingest.fixed_high=4000"]).ingest
    assert (found.fixed_low, found.fixed_high) == (1000, 4000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=3", "--set epochs=3: must look like section.field=value, for example train.epochs=20"),
        ("max_minutes=3", "for example train.epochs=20; did you mean train.max_minutes?"),
        ("seed=3", "; did you mean train.seed or evaluate.seed?"),
        ("train.epochs", "must look like section.field=value"),
        ("train.=3", "must look like section.field=value"),
        ("trian.epochs=3", "'trian' is no section; did you mean 'train'?"),
        ("train.epoch=3", "'epoch' is no setting of train; did you mean 'epochs'?"),
        ("train.epochs=-1", "--set: train.epochs: Input should be greater than or equal to 0, found '-1'"),
        ("train.epochs=[1", "--set: train.epochs: Input should be a valid integer"),
        ("train.epochs=", "--set: train.epochs: Input should be a valid integer"),
        ("gate.score=dise", "--set: gate.score: Input should be 'f1', 'dice'"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, text, message):
    assert message in fails(write(tmp_path, VALID), text)


# --------------------------------------------------------------------------- forms


def test_only_what_was_changed_in_a_form_is_stronger_than_the_file():
    file = Settings(train=TrainConfig(epochs=5, seed=7), evaluate=EvaluateConfig(beta=2))
    merged = merge_settings(file, "train", TrainConfig(epochs=9, warm_start=True))
    assert merged == replace(file, train=TrainConfig(epochs=9, seed=7, warm_start=True))


def test_a_form_nobody_touched_changes_nothing():
    file = Settings(train=TrainConfig(epochs=5))
    assert merge_settings(file, "train", TrainConfig()) == file
