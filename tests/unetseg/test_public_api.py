import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unetseg
from unetseg import config, errors

SOURCE = Path(unetseg.__file__).parent
# Those that need Keras would take eight seconds: the test of the model loads them.
LIGHT = [
    name for name in unetseg.__all__[1:] if unetseg._HOMES[name] not in ("heads", "losses", "metrics", "model", "synth")
]


def top_level_names(module):
    """Names that a module defines or imports, and those of its ``__all__``; it is read, not run."""
    body = ast.parse((SOURCE / f"{module}.py").read_text(encoding="utf-8")).body
    blocks = (ast.FunctionDef, ast.ClassDef)
    names = {node.name for node in body if isinstance(node, blocks)}
    for node in (inner for item in body if not isinstance(item, blocks) for inner in ast.walk(item)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    (listed,) = (node.value for node in body if isinstance(node, ast.Assign) and target_of(node) == "__all__")
    return names, ast.literal_eval(listed)


def target_of(node):
    return getattr(node.targets[0], "id", "")


def run_python(code):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_public_names_are_sorted_and_each_once():
    names = unetseg.__all__[1:]
    assert names == sorted(set(names))


@pytest.mark.parametrize("name", unetseg.__all__[1:])
def test_each_public_name_is_defined_and_public_in_its_module(name):
    defined, listed = top_level_names(unetseg._HOMES[name])
    assert name in defined
    assert name in listed


@pytest.mark.parametrize("name", LIGHT)
def test_a_public_name_is_the_object_of_its_module(name):
    found = getattr(unetseg, name)
    assert found.__name__ == name
    assert found.__module__ == f"unetseg.{unetseg._HOMES[name]}"


def test_a_name_that_there_is_not_lists_those_there_are():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'; there are: __version__, CompositeLoss, "):
        unetseg.nonsense  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, unetseg, unetseg.config, unetseg.project, unetseg.storage, unetseg.errors, unetseg.registry; "
        "print([name for name in ('keras', 'tensorflow', 'jax', 'torch', 'prefect', 'distributed', 'openvino', "
        "'matplotlib') if name in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_the_data_side_works_without_keras():
    code = "import sys, unetseg.ingest, unetseg.outputs, unetseg.augment, unetseg.init; print('keras' in sys.modules)"
    assert run_python(code) == "False"


@pytest.mark.parametrize("path", sorted(SOURCE.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_what_a_module_lists_as_public_is_there(path):
    defined, listed = top_level_names(path.stem)
    assert set(listed) <= defined


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_one_of_unetseg_and_a_value_error_where_what_was_given_is_wrong(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.UnetsegError)
    assert issubclass(kind, ValueError) == (
        name not in {"UnetsegError", "BusyError", "ClusterError", "WorkerDiedError"}
    )


def test_every_config_class_has_a_docstring():
    assert all(getattr(config, name).__doc__ for name in config.__all__)


def test_the_version_is_that_of_the_project():
    import tomllib

    text = (SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["version"] == unetseg.__version__
