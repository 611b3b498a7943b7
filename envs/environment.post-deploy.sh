#!/usr/bin/env bash
# Snakemake runs this after it has created envs/environment.yaml, in the folder that it was started in: the repository.
set -euo pipefail
python -m pip install --no-deps -r envs/requirements.txt
python -m pip install --no-deps --no-build-isolation --no-binary xtcocotools -r envs/requirements-source.txt
python -m pip install --no-deps --no-build-isolation -e .
