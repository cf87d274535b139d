#!/bin/sh
# Resolve pyproject.toml anew in fresh environments and write requirements.lock and requirements-dev.lock.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
pip="$folder/venv/bin/python -m pip"
$pip install --quiet --no-compile "setuptools>=77" .
$pip freeze --all --exclude pip --exclude unetseg | sort > "$folder/run"
$pip install --quiet --no-compile ".[dev]"
$pip freeze --all --exclude pip --exclude unetseg | sort > "$folder/dev"
$pip check
{
  echo '# Exact versions of everything that unetseg runs on, resolved and tried together. `make lock` renews it.'
  cat "$folder/run"
} > requirements.lock
{
  echo '# What checks and tests need on top of requirements.lock. `make lock` renews it.'
  comm -13 "$folder/run" "$folder/dev"
} > requirements-dev.lock
