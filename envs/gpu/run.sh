#!/usr/bin/env bash
# Runs on a GPU machine without a package registry, in the folder of the repository: bash envs/gpu/run.sh PART..., with parts
#   setup    the packages of .gpu/ into SITE (/tmp/rspose-site), photographs into DATA (/tmp/rspose-data); more of them with each call
#   doctor   what is wrong with the machine, and how fast it is
#   tests    the tests that need a GPU
#   bench    every loss beside MSE, and training steps of ResNet-50
#   resume   six losses on two heads on drawings, twice at a time: one grid is killed and resumed, and compared to the bit
#   cpu      MSE and RSPose of that grid on the CPU, and how far the records and weights are apart
#   photos   config/photos.yaml, seed by seed (SEEDS="0 1 2"), as many cells at a time as there are cores (CELLS)
# LOSSES=mse,rspose takes some of the losses. A part ends after SECONDS_A_PART (300) and writes what it has into OUT (.gpu/out) as it goes. DEVICE=cpu tries it without a GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-$PWD/.gpu/out}" python="${PYTHON:-python3}" site="${SITE:-/tmp/rspose-site}" data="${DATA:-/tmp/rspose-data}" bound="${SECONDS_A_PART:-300}"
cores="${CORES:-$(nproc)}" device="${DEVICE:-cuda}"
cells="${CELLS:-$cores}"
mkdir -p "$out"
export PYTHONPATH="$PWD:$site" PATH="$site/bin:$PATH" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 RSPOSE_DATA="$data"

say() { printf '%s %s\n' "$(date +%T)" "$*" | tee -a "$out/log.txt"; }
rspose() { timeout "$bound" "$python" -c 'import sys; from rspose.cli import main; sys.exit(main())' "$@"; }
# The target comes first: options that take several values would swallow it.
grid() { ${EXEC:-} timeout --kill-after 10 "$bound" "$python" -m snakemake tables "$@" --workflow-profile none --keep-going --rerun-incomplete --show-failed-logs \
  --quiet rules --scheduler greedy --nolock --cores "$cores" --resources gpu="$cells"; }
keep() { tar czf "$out/.$1" "${@:2}" 2>>"$out/log.txt" && mv "$out/.$1" "$out/$1"; }

setup() {
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$site" .gpu/wheels/*.whl || return
  "$python" -m pip install --quiet --no-index --no-deps --no-build-isolation --target "$site" .gpu/wheels/xtcocotools-* || return
  local photographs
  for photographs in .gpu/[0-9]*; do [ -d "$photographs" ] && mkdir -p "$data" && cp -r "$photographs"/. "$data"; done
  "$python" -c 'import sys, torch, rspose.training, xtcocotools.coco, snakemake
print("python", sys.version.split()[0], "torch", torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
}

doctor() { rspose doctor config/photos.yaml ${DEVICE:+--device "$DEVICE"} --json >"$out/doctor.json"; }

tests() {
  timeout "$bound" "$python" -m pytest -q -p no:cacheprovider -n 4 tests/test_losses_gpu.py tests/test_losses_rank_sort.py >"$out/tests.txt" 2>&1
  local code=$?
  tail -4 "$out/tests.txt"
  return $code
}

bench() {
  rspose bench losses --device "$device" --repeats 25 --json >"$out/bench_losses.jsonl" || return
  for head in heatmap simcc; do
    rspose bench steps --device "$device" --head $head --losses mse rspose --batch "${BATCH:-64}" --rounds 25 --json >"$out/bench_steps_$head.jsonl" || return
  done
}

# Each grid draws its own copy: two at once would draw into one folder. Not tuned: what matters is whether two trainings are the same.
drawn() {
  mkdir -p results/gpu
  cat >"results/gpu/$1.yaml" <<Y
extends: ../../config/photos.yaml
results: results/gpu/$1
seeds: 0
${LOSSES:+losses: [$LOSSES]}
tuning: null
training: {epochs: 4, warmup_iterations: 5, device: ${3:-auto}}
data: {lsp: {root: results/gpu/$1/data, generate: {train_images: 480, val_images: 64, seed: 3}}}
Y
  grid --configfile "results/gpu/$1.yaml" >"$out/resume_$1_$2.txt" 2>&1
}

# How far the weights of two such grids are apart, a line a cell.
apart() {
  "$python" - "results/gpu/$1/cells" "results/gpu/$2/cells" <<'P'
import sys
from pathlib import Path

import torch


def size(values):
    return sum(each.double().square().sum() for each in values).sqrt()


ours, theirs = map(Path, sys.argv[1:])
for file in sorted(ours.rglob("checkpoint.pth")):
    place = file.relative_to(ours)
    a, b = (torch.load(each, map_location="cpu", weights_only=True)["state_dict"] for each in (file, theirs / place))
    differ = sum(not torch.equal(a[name], b[name]) for name in a)
    far = size(a[name] - b[name] for name in a) / size(a.values())
    print(f"{place.parent}: {differ} of {len(a)} tensors differ, by {far:.1e} of the weights' size")
P
}

resume() {
  rm -rf results/gpu
  drawn whole 1 &
  # timeout leads a group of its own: as $!, which EXEC makes it, all of the grid can be killed.
  EXEC=exec drawn killed 1 & local killed=$!
  until [ "$(find results/gpu/killed/work -name 'epoch_*.pth' 2>/dev/null | wc -l)" -ge 1 ] || ! kill -0 $killed 2>/dev/null; do sleep 0.3; done
  say "killed with $(find results/gpu/killed/work -name 'epoch_*.pth' 2>/dev/null | wc -l) checkpoints there"
  kill -9 -- -$killed 2>/dev/null; wait $killed 2>/dev/null
  drawn killed 2
  wait
  apart whole killed | tee "$out/resume.txt"
  keep resume_records.tgz results/gpu/whole/records
}

cpu() {
  LOSSES=mse,rspose drawn cpu 1 cpu
  rspose diff results/gpu/cpu/records results/gpu/whole/records >"$out/cpu_diff.txt"
  apart cpu whole | tee "$out/cpu.txt"
}

photos() {
  (while sleep 20; do keep photos_records.tgz results/photos/records results/photos/tables; done) &
  local keeping=$! ended=$((SECONDS + bound)) seeds="" bound
  for seed in ${SEEDS:-0 1 2}; do
    seeds="${seeds:+$seeds,}$seed"
    bound=$((ended - SECONDS))
    [ $bound -gt 0 ] && grid --configfile config/photos.yaml --config "seeds=[$seeds]" ${LOSSES:+"losses=[$LOSSES]"} >>"$out/photos.txt" 2>&1
    say "seeds $seeds: $(find results/photos/records -name 'seed*.json' -not -path '*control*' | wc -l) records"
  done
  kill $keeping
  keep photos_records.tgz results/photos/records results/photos/tables
}

failed=0
for part in "$@"; do
  case $part in
    setup | doctor | tests | bench | resume | cpu | photos)
      started=$SECONDS
      $part
      code=$?
      [ $code = 0 ] || failed=1
      say "$part: exit $code, $((SECONDS - started)) s"
      ;;
    *) say "error: $part: no such part; there are setup, doctor, tests, bench, resume, cpu, photos"; exit 1 ;;
  esac
done
exit $failed
