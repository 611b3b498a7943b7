"""Whether a machine is ready for a grid, and how fast it is: `rspose doctor`."""

import io
import os
import platform
import shutil
import subprocess
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, load_config
from rspose.grid.machine import cpu_name, proc_bytes
from rspose.grid.progress import duration, progress
from rspose.losses import available, build
from rspose.tools import bench
from rspose.tools.devices import compare_loss, compare_operator
from rspose.tools.pages import ROOT
from rspose.tools.targets import FULL

# What needs mmpose is imported where it is used: that it cannot be imported is one of the lines.

TIMES_MSE = 5.0
"""A loss that takes longer than so many times MSE on the same tensors is slow."""
TIMES_STEP = 1.03
"""So is RSPose if its training step takes longer than so many times MSE's."""

_ROWS = 64
_POSITIVES = [(3072, 169), (3072, 29), (512, 37), (384, 37), (1088, 1088)]
"""Elements and positives of the rows that losses rank: heatmaps, SimCC vectors, a batch's keypoints."""
_STEP = {"cuda": (64, 15), "cpu": (2, 2)}  # instances of a training step, and rounds of steps
_SECONDS = 10  # that a program may take to answer
_PIPELINE_SECONDS = 2

Verdict = Literal["ok", "slow", "wrong", "not here"]


class Line(NamedTuple):
    """What was found out about one thing."""

    what: str
    found: str
    verdict: Verdict = "ok"
    against: str = ""  # what it is slow against
    numbers: dict[str, float] = {}  # noqa: RUF012  (never changed)


class Subject(NamedTuple):
    """What is examined."""

    file: Path | None
    config: GridConfig | None  # whose data and weights are looked for
    device: str | None  # cuda, cpu in the GPU's place, or None without either
    lines: list[dict[str, Any]]  # found so far


def examine(file: Path | None, device: str | None) -> dict[str, Any]:
    """Examine this machine; what `rspose doctor --json` prints.

    It has ``device``, in words; ``seconds``; ``lines``, each with its ``part`` and what a :class:`Line` has.

    Args:
        file: A config, whose data and weights are looked for.
        device: ``"cpu"`` to put the CPU in the GPU's place. By default a GPU if torch sees one; else what
            needs one is left out.

    Raises:
        ValueError: The config cannot be used, or there is no such device.
    """
    device = device or ("cuda" if torch.cuda.is_available() else None)
    machine = bench.machine(device or "cpu")
    lines: list[dict[str, Any]] = []
    subject = Subject(file, load_config(file) if file else None, device, lines)
    started, bar = time.monotonic(), progress("parts of the examination")
    for number, (part, (check, on_gpu)) in enumerate(PARTS.items()):
        bar(number, len(PARTS))
        found = check(subject) if device or not on_gpu else iter([Line("GPU", "none", "not here")])
        try:
            # mmpose's dataset classes print while they read.
            with redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
                lines += ({"part": part, **line._asdict()} for line in found)
        except ImportError as error:
            known = any(line["what"].startswith("import ") and line["verdict"] == "wrong" for line in lines)
            failed = Line("not run", f"{_joined(error)}, as above", "not here") if known else _broken(error)
            lines.append({"part": part, **failed._asdict()})
        except Exception as error:
            lines.append({"part": part, **_broken(error)._asdict()})
    bar(len(PARTS), len(PARTS))
    return {"device": machine, "seconds": round(time.monotonic() - started, 1), "lines": lines}


def _broken(error: Exception) -> Line:
    return Line("the check itself", f"{type(error).__name__}: {_joined(error)}", "wrong")


def page(examined: dict[str, Any], only: tuple[Verdict, ...] = ("ok", "slow", "wrong", "not here")) -> str:
    """The lines with some verdicts as a plain table, and how many there are of them."""
    rows = []
    for line in (each for each in examined["lines"] if each["verdict"] in only):
        against = line["against"] and f" (against {line['against']})"
        rows.append((line["part"], line["what"], line["found"], line["verdict"] + against))
    headings, widths = ("part", "what", "found", ""), [None, None, 88, 30]
    table = tabulate(rows, headings, "simple", disable_numparse=True, maxcolwidths=widths)
    verdicts = [line["verdict"] for line in examined["lines"]]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in only)
    return f"{table}\n\n{examined['device']}, {duration(examined['seconds'])}: {counts}"


def _versions(subject: Subject) -> Iterator[Line]:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    found = platform.python_version()
    yield Line("Python", f"{found}; wanted {wanted}", "ok" if found in SpecifierSet(wanted) else "wrong")
    files = (ROOT / "envs/requirements.txt", ROOT / "envs/requirements-source.txt")
    lines = (line.partition("#")[0].strip() for file in files for line in file.read_text().splitlines())
    absent, same = [], 0
    pins = [Requirement(line) for line in lines if line]
    for pin in (pin for pin in pins if pin.marker is None or pin.marker.evaluate()):
        name, pinned = pin.name, str(pin.specifier).removeprefix("==")
        try:
            installed = metadata.version(name).partition("+")[0]  # without what it was built for
        except metadata.PackageNotFoundError:
            absent.append(name)
            continue
        same += installed == pinned
        if installed != pinned:
            yield Line(name, f"expected {pinned}, found {installed}; make setup installs the pins", "wrong")
    yield Line("packages", f"{same} as envs/ pins them")
    if absent:
        found = f"{len(absent)} pins that are not installed: {', '.join(absent)}"
        yield Line("packages", found, "not here")
    for module in ("rspose.training", "xtcocotools.coco", "snakemake"):
        try:
            import_module(module)
            yield Line(f"import {module}", "works")
        except Exception as error:
            yield Line(f"import {module}", f"{_joined(error)}; make setup installs the pins", "wrong")


def _machine(subject: Subject) -> Iterator[Line]:
    yield Line("processor", f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores for this process")
    total, free = (proc_bytes("meminfo", key) / 1e9 for key in ("MemTotal", "MemAvailable"))
    yield Line("memory", f"{total:.1f} GB, {free:.1f} of them free")
    for name in ("cc", "nvcc"):
        said = _run(name, "--version").stdout.strip().splitlines()
        yield Line(name, said[-1 if name == "nvcc" else 0]) if said else Line(name, "none", "not here")
    folder = (subject.config.results if subject.config else Path("results")).absolute()
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    if os.access(there, os.W_OK):
        yield Line("results", f"{folder}: {shutil.disk_usage(there).free / 1e9:,.0f} GB free")
    else:
        yield Line("results", f"{there}: expected a folder to write to", "wrong")
    from rspose.training.precision import slow_precision

    if note := slow_precision():
        yield Line("bfloat16", note, "slow", "float32")


def _workflow(subject: Subject) -> Iterator[Line]:
    chosen = os.environ.get("SNAKEMAKE_PROFILE")
    yield Line("profile", f"profiles/default{f', SNAKEMAKE_PROFILE={chosen}' if chosen else ''}")
    absent = [each for each in ("sbatch", "squeue", "scancel", "sinfo") if not shutil.which(each)]
    if "sbatch" in absent:
        yield Line("Slurm", "no sbatch: jobs run on this machine", "not here")
        return
    yield Line("Slurm", f"without {', '.join(absent)}", "wrong") if absent else Line("Slurm", "its commands")
    said = _run("sinfo", "--noheader", "--format=%P|%l|%D|%G")
    if said.returncode:
        yield Line("partitions", f"no cluster answers: {_joined(said.stderr)}", "not here")
        return
    partitions = []
    for line in said.stdout.split():  # one for each kind of node of a partition
        name, limit, nodes, devices = line.split("|")
        partitions.append(name := name.rstrip("*"))
        yield Line(f"partition {name}", f"{nodes} nodes, devices of each {devices}, at most {limit}")
    for variable in ("RSPOSE_SLURM_PARTITION", "RSPOSE_SLURM_CPU_PARTITION"):
        unknown = {*filter(None, os.environ.get(variable, "").split(","))}.difference(partitions)
        if unknown:
            expected = f"expected of {', '.join(dict.fromkeys(partitions))}, found {', '.join(unknown)}"
            yield Line(variable, expected, "wrong")


def _data(subject: Subject) -> Iterator[Line]:
    if (config := subject.config) is None:
        yield Line("datasets and weights", "no config named, such as config/paper.yaml", "not here")
        return
    from rspose.datasets.check import check_dataset_once
    from rspose.datasets.manifest import read_manifest
    from rspose.training.pretrained import missing_weights, needed_weights

    for name in config.read_datasets:
        entry = config.data[name]
        if entry.generate:
            yield Line(name, f"{entry.folder}: drawn when the grid is run")
        elif not entry.folder.is_dir():
            fetch = f"rspose data fetch {name} --root {quote(str(entry.folder))}"
            yield Line(name, f"{entry.folder}: no such folder; {fetch}", "not here")
        else:
            memory = config.results / "work/checked" / name  # that of the workflow
            problems = check_dataset_once(entry.folder, name, memory, entry.least_keypoints).problems
            command = f"rspose data check {quote(str(entry.folder))} --dataset {name}"
            if problems:
                yield Line(name, f"{problems[0]}; {len(problems)} problems: {command}", "wrong")
            elif read_manifest(entry.folder) is not None:
                yield Line(name, f"{entry.folder}: drawn; the config asks for the real one", "not here")
            else:
                yield Line(name, str(entry.folder))
    needed, missing = (look(config, config.cells()) for look in (needed_weights, missing_weights))
    if there := len(needed) - len(missing):
        yield Line("weights", f"{there} of {len(needed)} files are there")
    if missing:
        files = ", ".join(str(each.file) for each in missing)
        yield Line("weights", f"{files}; rspose pretrained {quote(str(subject.file))}", "not here")


def _devices(subject: Subject) -> Iterator[Line]:
    listed = _run("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    for number, gpu in enumerate(listed.stdout.splitlines()):
        yield Line(f"GPU {number}", gpu)
    built = f"{torch.__version__}, built for CUDA {torch.version.cuda}"
    if not torch.cuda.is_available():
        hidden = not listed.stdout or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        expected = "sees no GPU" if hidden else "expected to see the GPUs of nvidia-smi, found none"
        try:
            torch.zeros(1, device="cuda")
        except (RuntimeError, AssertionError) as error:
            yield Line("torch", f"{built}, {expected}: {_joined(error)}", "not here" if hidden else "wrong")
        return
    seen = torch.cuda.get_device_properties(0)
    first = f"{seen.name}, {seen.total_memory / 1e9:.0f} GB, capability {seen.major}.{seen.minor}"
    yield Line("torch", f"{built}, sees {torch.cuda.device_count()}; the first: {first}")
    if not find_spec("triton"):
        yield Line("Triton", "none: the ranking operator takes its slower form", "not here")
        return
    import triton

    wanted = {each.partition(";")[0].strip() for each in metadata.requires("torch") or []}
    wanted = {each for each in wanted if each.startswith("triton==")} or {f"triton=={triton.__version__}"}
    target = triton.runtime.driver.active.get_current_target()
    fits = f"triton=={triton.__version__}" in wanted and target.arch == 10 * seen.major + seen.minor
    found = f"{triton.__version__} for {target.backend} {target.arch}; torch wants {', '.join(wanted)}"
    yield Line("Triton", found, "ok" if fits else "wrong")


def _ranking(subject: Subject) -> Iterator[Line]:
    seed = torch.seed() % 2**31
    generator = torch.Generator().manual_seed(seed)
    for dtype, (length, positives) in product((torch.float32, torch.float64), _POSITIVES):
        scores = torch.randn(_ROWS, length, generator=generator, dtype=dtype)
        labels = torch.rand(_ROWS, length, generator=generator, dtype=dtype)
        labels = labels.where(labels.argsort(dim=1).argsort(dim=1) < positives, 0)
        valid = torch.rand(_ROWS, length, generator=generator) < 0.9
        what = f"{length}, {positives} positives, {str(dtype).removeprefix('torch.')}"
        yield _compared(what, f"seed {seed}, ", compare_operator, scores, labels, valid, subject.device)


def _losses(subject: Subject) -> Iterator[Line]:
    for name, loss in available().items():
        cases = []
        for head, half in product(loss.heads, (False, True)):
            what = f"{name}, {head}{', autocast' if half else ''}"
            cases.append(_compared(what, "", compare_loss, name, head, subject.device, half))
        heads = f"{', '.join(loss.heads)}, also under autocast: as on the CPU; to the bit in two runs"
        yield from [each for each in cases if each.verdict == "wrong"] or [Line(name, heads)]


def _compared(what: str, of: str, compare: Callable[..., float], *arguments: Any) -> Line:
    try:
        difference = compare(*arguments)
        return Line(what, f"{of}as on the CPU but for {difference:.0e}; to the bit in two runs")
    except ImportError:
        raise  # the next would meet it too
    except Exception as error:  # also of an operation that has no deterministic form
        return Line(what, f"{of}{_joined(error)}", "wrong")


def _loss_times(subject: Subject) -> Iterator[Line]:
    benches = {head: bench.Bench(head, str(subject.device)) for head in FULL}
    for each in benches.values():
        each.loss("mse", {})  # the first one finds nothing in the caches
    for (name, loss), head in product(available().items(), FULL):
        if head in loss.heads:
            row = benches[head].loss(name, {})
            numbers = {"ms": row["forward_ms"] + row["backward_ms"], "times_mse": row["times_mse"]}
            found = f"{numbers['ms']:.2f} ms, {numbers['times_mse']:.1f} times MSE"
            if subject.device == "cuda" and (launches := _launches(benches[head], name)):
                numbers["launches"] = launches
                found += f", {launches} launches"
            slow = _slow(row["times_mse"] > TIMES_MSE, f"{TIMES_MSE:g} times MSE")
            yield Line(f"{name}, {head}", found, *slow, numbers)


def _launches(measured: bench.Bench, name: str) -> int:
    """Kernels that a forward and backward pass of a loss launches."""
    loss = build(name, {}, bench.KEYPOINTS).to(measured.device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        torch.stack(list(loss(measured.prediction, measured.target).values())).sum().backward()
        torch.cuda.synchronize()
    return sum(event.count for event in profiled.key_averages() if "LaunchKernel" in event.key)


def _steps(subject: Subject) -> Iterator[Line]:
    from mmengine.registry import DefaultScope

    from rspose.tools.plan import network_cost
    from rspose.tools.steps import measure_steps
    from rspose.training.compose import compose

    paper, device = load_config(ROOT / "config/paper.yaml"), torch.device(str(subject.device))
    batch, rounds = _STEP[device.type]
    for head in FULL:
        cell = Cell("coco", "resnet50", head, "mse", 0)
        with DefaultScope.overwrite_default_scope("mmpose"):
            composed = compose(paper, cell, Path(), None)
            steps = measure_steps(paper, cell, composed, ["mse", "rspose"], device, rounds, batch)
            flops = 3 * network_cost(composed).flops  # forward and backward
        seconds = float(steps.seconds["mse"].median())
        rate = steps.batch / seconds
        numbers = {"ms": 1000 * seconds, "images_a_second": rate, "tflops": flops * rate / 1e12}
        found = f"{1000 * seconds:.1f} ms for {steps.batch} images, {numbers['tflops']:.2g} TFLOP/s"
        yield Line(f"ResNet-50, {head}, MSE", found, numbers=numbers)
        times = float((steps.seconds["rspose"] / steps.seconds["mse"]).median())
        slow = _slow(times > TIMES_STEP, f"{TIMES_STEP:g} times MSE's")
        yield Line(f"ResNet-50, {head}, RSPose", f"{times:.3f} times MSE's", *slow, {"times_mse": times})


def _pipeline(subject: Subject) -> Iterator[Line]:
    """Instances of drawn COCO that the training pipeline of ResNet-50 makes."""
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner
    from mmengine.utils.dl_utils import set_multi_processing

    from rspose.drawn import make_dataset
    from rspose.training.compose import compose

    paper = load_config(ROOT / "config/paper.yaml")
    workers = (subject.config or paper).training.workers
    with TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope("mmpose"):
        root, training = Path(folder, "coco"), {"workers": workers, "batch_size": 16}
        make_dataset("coco", root, 24, 0, 1, (640, 480))
        config = paper.laid_over({"data": {"coco": {"root": str(root)}}, "training": training})
        composed = compose(config, Cell("coco", "resnet50", "heatmap", "mse", 0), Path(), None)
        set_multi_processing(opencv_num_threads=0)  # as in a training
        endless = {**composed["train_dataloader"], "sampler": {"type": "InfiniteSampler"}}
        batches = iter(Runner.build_dataloader(endless))
        for _ in range(4 * (workers + 1)):  # until what was loaded ahead is used up
            next(batches)
        started, instances = time.monotonic(), 0
        while time.monotonic() - started < _PIPELINE_SECONDS:
            instances += len(next(batches)["inputs"])
        rate = instances / (time.monotonic() - started)
    wanted = max((line["numbers"].get("images_a_second", 0) for line in subject.lines), default=0)
    found = f"{rate:.0f} instances a second, 640 x 480 to 192 x 256, with {workers} workers"
    slow = _slow(rate < wanted, f"the {wanted:.0f} of a training step")
    yield Line("data pipeline", found, *slow, {"instances_a_second": rate, "workers": workers})


PARTS: dict[str, tuple[Callable[[Subject], Iterator[Line]], bool]] = {
    "versions": (_versions, False),
    "machine": (_machine, False),
    "workflow": (_workflow, False),
    "data": (_data, False),
    "GPU": (_devices, False),
    "ranking": (_ranking, True),
    "losses": (_losses, True),
    "loss times": (_loss_times, True),
    "training step": (_steps, True),
    "data pipeline": (_pipeline, False),
}
"""What is examined, in this order, and whether it takes a GPU."""


def _slow(slow: bool, against: str) -> tuple[Verdict, str]:
    return ("slow", against) if slow else ("ok", "")


def _joined(said: object) -> str:
    return " ".join(str(said).split())[:300]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program says; nothing where there is none."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
