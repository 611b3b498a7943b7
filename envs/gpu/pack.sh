#!/usr/bin/env bash
# Packs what a GPU machine without a package registry lacks into .gpu/: `make gpu-bundle`. PHOTOGRAPHS names the folder with lsp/
# and lspet/ (by default RSPOSE_DATA). A folder .gpu/N holds at most PART_MB megabytes (48), for ways that carry no more at a time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
photographs="${PHOTOGRAPHS:-${RSPOSE_DATA:-}}" out=.gpu python="${PYTHON:-.venv/bin/python}"
# Not what run.sh measured, in .gpu/out.
rm -rf "$out"/wheels "$out"/[0-9]* && mkdir -p "$out/wheels"
# The versions are those of requirements.txt; --no-deps since the list is complete.
pins=$(mktemp) && trap 'rm -f "$pins"' EXIT
grep -v '^#' envs/gpu/packages.txt | while read -r name; do
  grep -iE "^${name//[-_]/[-_]}==" envs/requirements.txt || { echo "error: envs/gpu/packages.txt: $name is not in envs/requirements.txt" >&2; exit 1; }
done | sed 's/ *#.*//' > "$pins"
platforms=(--platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux1_x86_64)
grep -v '^connection_pool==' "$pins" | xargs "$python" -m pip download --quiet --no-deps --only-binary=:all: \
  --python-version 3.12 --implementation cp "${platforms[@]}" --dest "$out/wheels"
# These two come as sources: one is plain Python, the other is compiled where it runs.
grep '^connection_pool==' "$pins" | xargs "$python" -m pip wheel --quiet --no-deps --wheel-dir "$out/wheels"
"$python" -m pip download --quiet --no-deps --no-build-isolation --no-binary xtcocotools -r envs/requirements-source.txt --dest "$out/wheels"
if [ -n "$photographs" ]; then
  "$python" - "$photographs" "$out" "${PART_MB:-48}" <<'P'
import shutil, sys
from pathlib import Path

source, out, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) * 10**6
part, used = 1, sum(file.stat().st_size for file in (out / "wheels").iterdir())
for file in sorted(path for name in ("lsp", "lspet") for path in (source / name).rglob("*") if path.is_file()):
    used += file.stat().st_size
    if used > most:
        part, used = part + 1, file.stat().st_size
    target = out / str(part) / file.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
P
fi
du -sh "$out"/*
