"""The command line: a command is a function that calls a room's function, with an example in its help."""

import os
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from rspose.tools.commands import Run, argument, command, count, dataset_name, flag, parser, path, points
from rspose.tools.pages import PAGES

GROUPS = {
    "records": "records of finished cells as one file, or as JSON",
    "data": "generated and real datasets",
    "bench": "measure time and memory",
    "list": "what there is",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 1, with one line on stderr, if it failed."""
    options = vars(parser(GROUPS).parse_args(arguments))
    run: Run = options.pop("run")
    try:
        status = run(**options) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (nothing is left to be flushed at the end)
        return 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, ImportError) as error:
        extra = "; rspose-bench[train] brings it, [losses] brings torch alone, [tables] what tables take"
        print(f"error: {error}{extra * isinstance(error, ModuleNotFoundError)}", file=sys.stderr)
        return 1


_ROOT = path("root", "root folder of the dataset")
_DATASET = dataset_name("--dataset", required=True)
_CONFIG = path("config", "config of a grid")
_DEMO = Path("config/demo.yaml")
_RECORDS = path("records", "folders or packed files of records, which are merged", nargs="+")
_HALF_WIDTH = "half width of the region of practical equivalence"
_REGION = points("--equivalence", _HALF_WIDTH, default=0.5)
_FROM = "of a loss from outside the project: a .py file, or an entry point of the group rspose.losses"
_SOURCE = argument("--from", _FROM, dest="source", metavar="SOURCE")


@command(
    "data make",
    "--dataset coco --out data/coco --images 900",
    _DATASET,
    path("--out", "root folder of the new dataset", required=True),
    count("--images", "training images", default=900),
    count("--val-images", "validation images (default: a quarter of the training images)"),
    argument("--seed", "same seed, same bytes", type=int, default=0),
    count("--size", "image size", nargs=2, default=(320, 240), metavar=("W", "H")),
)
def _make(
    dataset: str, out: Path, images: int, val_images: int | None, seed: int, size: Sequence[int]
) -> None:
    """Draw a dataset with the files of the real one."""
    from rspose.drawn import make_dataset
    from rspose.grid.fingerprints import generator_version
    from rspose.grid.lock import claim_drawing
    from rspose.grid.progress import progress

    claim_drawing(out.resolve(), dataset)
    width, height = size
    val_images = val_images or max(1, images // 4)
    version = generator_version(dataset)
    make_dataset(dataset, out, images, seed, val_images, (width, height), progress("images"), version)
    print(f"{dataset} dataset written to {out}")


@command(
    "data show",
    "data/coco --dataset coco --images 12",
    _ROOT,
    _DATASET,
    argument("--split", "whose images", choices=("train", "val"), default="val"),
    count("--images", "images drawn", default=24),
    path("--out", "the picture to write", default=Path("contact_sheet.png")),
)
def _show(root: Path, dataset: str, split: str, images: int, out: Path) -> None:
    """Draw a contact sheet: images with their annotations."""
    from rspose.tools.contact_sheet import contact_sheet

    contact_sheet(root, dataset, split, images, out)
    print(f"contact sheet written to {out}")


@command(
    "data check",
    "data/coco --dataset coco",
    _ROOT,
    _DATASET,
    flag("--quick", "do not open every image"),
    argument("--least-keypoints", "as data.lsp.least_keypoints of a config", type=int),
)
def _check(root: Path, dataset: str, quick: bool, least_keypoints: int | None) -> int:
    """Verify a dataset: files, counts, checksums, images; what to fetch."""
    from rspose.tools.dataset_check import report_dataset

    return 0 if report_dataset(root, dataset, quick, least_keypoints) else 1


@command(
    "data fetch",
    "coco --root data/coco",
    dataset_name("dataset"),
    path("--root", "root folder of the dataset (default: that of its name below data, or below RSPOSE_DATA)"),
    flag("--yes", "agree to gigabytes beforehand"),
)
def _fetch(dataset: str, root: Path | None, yes: bool) -> int:
    """Download, unpack and check a dataset, as far as its authors offer it at an address."""
    from rspose.tools.fetch import fetch_dataset

    return 0 if fetch_dataset(dataset, root, yes) else 1


@command(
    "tables",
    "results/records --out tables",
    path(
        "records",
        f"folders or packed files of records; or the config of a grid that has run (default: {_DEMO})",
        nargs="*",
        default=[_DEMO],
    ),
    path("--out", "folder of all tables of the records (default: print their main table)"),
    points("--equivalence", f"{_HALF_WIDTH} (default: 0.5; that of the config for a grid)"),
)
def _tables(records: list[Path], out: Path | None, equivalence: float | None) -> None:
    """Make all tables of finished records, without torch; or print the main table, also of a grid."""
    from rspose.grid.config import load_config
    from rspose.reporting.markdown import to_markdown
    from rspose.reporting.results import read_results
    from rspose.reporting.tables import main_table, make_tables

    config = next((each for each in records if each.suffix in (".yaml", ".yml")), None)
    if config and (out or len(records) > 1 or equivalence is not None):
        beside = "other records, --out or --equivalence"
        raise ValueError(f"{config}: expected records beside {beside}, found a config")
    region = 0.5 if equivalence is None else equivalence
    if config:
        folder = load_config(config).results / "tables"
        if not (folder / "main.md").is_file():
            raise ValueError(f"{folder}/main.md: no such table; run snakemake --configfile {config} first")
    elif out:
        make_tables(records, folder := out, region=region)
    else:
        print(to_markdown(main_table(read_results(records, region=region))), end="")
        return
    print((folder / "main.md").read_text(encoding="utf-8"))
    print(f"All tables (Markdown, LaTeX, CSV): {folder}/")
    page = folder.parent / "report.html"
    if config and page.is_file():
        print(f"Everything in one page, with charts and pictures: {page}")
        print("Next: a loss of your own beside these (docs/add-a-loss.md), other grids (docs/choosing.md)")


@command(
    "report",
    "results/records",
    _RECORDS,
    path("--out", "the page to write", default=Path("report.html")),
    _REGION,
)
def _report(records: list[Path], out: Path, equivalence: float) -> None:
    """Make the report of finished records, one HTML file; needs no torch."""
    from rspose.reporting.report.page import make_report

    path = make_report(records, out, region=equivalence)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")


@command(
    "versus",
    "rspose spatial-rs --records results/records",
    argument("loss", "name of a loss"),
    argument("other", "name of the loss to subtract"),
    path("--records", "folders of records", nargs="+", default=(Path("results/records"),)),
    argument("--length", "training length (default: that with the most cells)", type=float),
    _REGION,
    flag("--latex", "print the table in LaTeX instead of Markdown"),
)
def _versus(
    loss: str, other: str, records: list[Path], length: float | None, equivalence: float, latex: bool
) -> None:
    """Print one loss minus another, paired: accuracy, confidence, what ordering costs."""
    from rspose.reporting.difference_tables import versus
    from rspose.reporting.latex import to_latex
    from rspose.reporting.markdown import to_markdown
    from rspose.reporting.results import read_results

    results = read_results(records)
    found = {each.length: each for each in results.lengths}
    if length is not None and length not in found:
        raise ValueError(
            f"--length: expected one of {', '.join(f'{each:g}' for each in found)}; found {length:g}"
        )
    table = versus((results if length is None else found[length]).records, loss, other, equivalence)
    print(to_latex(table) if latex else to_markdown(table))


@command(
    "variance",
    "results/order/records results/sample/records results/all/records",
    path("records", "folders or packed files of records, one of each grid", nargs="+"),
    flag("--latex", "print the table in LaTeX instead of Markdown"),
)
def _variance(records: list[Path], latex: bool) -> None:
    """Print how much of the variance over seeds each source that they set has (training.seeds_vary)."""
    from rspose.reporting.latex import to_latex
    from rspose.reporting.markdown import to_markdown
    from rspose.reporting.variance import variance_table

    table = variance_table(*records)
    print(to_latex(table) if latex else to_markdown(table))


@command(
    "records pack",
    "results/records --out study.jsonl.xz",
    _RECORDS,
    path("--out", "the file to write, *.jsonl.xz", required=True),
    flag("--coarse", "keep replicates of the bootstrap to 1/256, in half the size"),
)
def _pack(records: list[Path], out: Path, coarse: bool) -> None:
    """Put the records of folders into one compressed file, which every command reads like a folder."""
    from rspose.grid.records import pack

    pack(found := _records(*records), out, coarse)
    print(f"{out}: {len(found)} records, {out.stat().st_size / 1e6:.2f} MB")


@command(
    "records unpack",
    "results/reference/study/records.jsonl.xz --out records",
    path("file", "a packed file, or a folder of records"),
    path("--out", "folder of the JSON files", required=True),
)
def _unpack(file: Path, out: Path) -> None:
    """Write each record of a packed file as a JSON file."""
    from rspose.grid.records import unpack

    unpack(found := _records(file), out)
    print(f"{len(found)} records written to {out}/")


def _records(*places: Path) -> list[Any]:
    from rspose.grid.records import load_records

    if not (found := load_records(*places)):
        raise ValueError(f"no usable record under {', '.join(map(str, places))}")
    return found


@command(
    "reference",
    "config/study.yaml",
    path("config", "the config of a grid that has run"),
    path("--out", "the folder to write (default: results/reference/NAME)"),
)
def _reference(config: Path, out: Path | None) -> None:
    """Keep a grid's records, full config and tables as reference results, all of one clean commit."""
    from rspose.tools.reference import keep_reference

    print(": ".join(map(str, keep_reference(config, out))))


@command(
    "choices",
    "config/photos.yaml --out config/photos_choices.json",
    path("config", "the config of a grid that was tuned"),
    path("--out", "the file to write", required=True),
)
def _choices(config: Path, out: Path) -> None:
    """Keep what a grid's tuning chose in one file, for the config key tuning.choices."""
    from rspose.grid.config import load_config
    from rspose.grid.tuning import keep_choices

    loaded = load_config(config)
    if not keep_choices(loaded, out):
        raise ValueError(f"{loaded.results}/tuning: expected choices, found none: run the grid first")
    print(f"{out} written; a config beside it takes it as tuning.choices: {out.name}")


@command(
    "diff",
    "results/reference/study results/records",
    path("first", "folder of records"),
    path("second", "folder of records to compare with it"),
    flag("--exact", "of a replay: agree only where the numbers are the same to the last digit"),
)
def _diff(first: Path, second: Path, exact: bool) -> int:
    """Compare two result sets: numbers beyond their intervals, cells, settings, versions."""
    from rspose.reporting.agreement import compare, described
    from rspose.reporting.frame import ordered_records

    sets = [ordered_records(folder) for folder in (first, second)]
    for folder, found in zip((first, second), sets, strict=True):
        if not found:
            raise ValueError(f"no usable record under {folder}")
    print(described(agreement := compare(*sets), str(first), str(second)))
    return 0 if (agreement.exact if exact else agreement.complete) else 1


@command(
    "doctor",
    "config/paper.yaml",
    path("config", "config of a grid, whose data and weights are looked for", nargs="?"),
    flag("--json", "everything as JSON"),
    argument("--device", "cpu takes the place of a GPU (default: a GPU)", choices=("cpu", "cuda")),
)
def _doctor(config: Path | None, json: bool, device: str | None) -> int:
    """Examine this machine before the first run: versions, data, GPU, losses on it, speed."""
    from rspose.tools.doctor import examine, page

    examined = examine(config, device)
    print(dumps(examined, indent=1) if json else page(examined))
    if json:
        print(page(examined, only=("slow", "wrong")), file=sys.stderr)
    return int(any(line["verdict"] == "wrong" for line in examined["lines"]))


@command(
    "plan",
    "config/paper.yaml --measure",
    _CONFIG,
    flag("--json", "everything as JSON"),
    flag("--measure", "time training steps of every model and loss on this machine"),
    argument(
        "--tflops", "trillion operations a second, assumed if nothing is measured", type=float, default=20.0
    ),
    path("--machine", "what rspose doctor --json printed: its speed takes the place of --tflops"),
    argument("--device-memory", "GB of a GPU of the cluster", type=float, default=80.0),
)
def _plan(
    config: Path, json: bool, measure: bool, tflops: float, machine: Path | None, device_memory: float
) -> None:
    """Say what a grid takes before it is launched: hours, memory, disk, what is missing."""
    from rspose.grid.config import load_config
    from rspose.tools.plan import make_plan, plan_page

    plan = make_plan(load_config(config), tflops, measure, device_memory, machine)
    print(dumps(plan, indent=1, default=str) if json else plan_page(plan, config))


@command(
    "export",
    "results/cells/coco/resnet18-w24/heatmap/rspose/seed0 --out rspose.onnx",
    path("cell", "folder of a trained cell, or mmpose's work directory"),
    path("--out", "the file to write", default=Path("model.onnx")),
    _SOURCE,
)
def _export(cell: Path, out: Path, source: str | None) -> None:
    """Write a trained model as an ONNX file, its score maps inside."""
    from rspose.losses import load
    from rspose.tools.export import export

    if source:
        load(source)
    print(export(cell, out))


@command("pretrained", "config/paper.yaml", _CONFIG)
def _pretrained(config: Path) -> None:
    """Download the weights that a grid's models start from."""
    from rspose.grid.config import load_config
    from rspose.tools.fetch import fetch_weights

    there = [f"{file}: there" for file in fetch_weights(load_config(config))]
    print("\n".join(there) or f"{config}: no model of it starts from pretrained weights")


@command(
    "bench losses",
    "--repeats 25 --threads 2",
    flag("--json", "one line of JSON a loss and head"),
    argument("--device", "where to measure", choices=("cpu", "cuda"), default="cpu"),
    count("--repeats", "runs a median is taken of", default=7),
    count("--threads", "CPU threads (default: torch's)"),
    argument("--seed", "of keypoints and predictions", type=int, default=0),
)
def _bench_losses(json: bool, device: str, repeats: int, threads: int | None, seed: int) -> None:
    """Measure every loss on every head, and the ranking operator."""
    from rspose.tools.bench import report_losses

    for line in report_losses(device, repeats, threads, seed, json):
        print(line, flush=True)


@command(
    "bench evaluate",
    "--datasets coco --times 1 2 4 --figure growth.svg",
    argument(
        "--datasets",
        "whose validation split is made (default: all)",
        nargs="+",
        choices=("coco", "crowdpose", "wholebody"),
        default=["coco", "crowdpose", "wholebody"],
    ),
    argument("--times", "how many times as large as the split", type=float, nargs="+", default=[1.0]),
    flag("--json", "one line of JSON a measurement"),
    path("--figure", "a picture to write: seconds against images"),
)
def _bench_evaluate(datasets: list[str], times: list[float], json: bool, figure: Path | None) -> None:
    """Measure an evaluation beside the official evaluator, on made predictions of real size."""
    from rspose.tools.evaluation_speed import report_evaluation

    for line in report_evaluation(datasets, times, json, figure):
        print(line, flush=True)


@command(
    "bench steps",
    "config/demo.yaml --head simcc --losses mse rspose",
    path("config", "config of a grid", nargs="?", default=Path("config/paper.yaml")),
    *(argument(f"--{what}", "default: the config's first") for what in ("dataset", "model", "head")),
    argument("--losses", "default: the config's", nargs="+"),
    count("--batch", "default: the training's; 16 on a CPU"),
    argument("--device", "default: the training's", choices=("cpu", "cuda")),
    count("--rounds", "steps with each loss", default=7),
    flag("--json", "one line of JSON a loss"),
)
def _bench_steps(config: Path, json: bool, **options: Any) -> None:
    """Measure training steps of a config's model, with each of its losses."""
    from rspose.grid.config import load_config
    from rspose.tools.steps import bench_steps

    for line in bench_steps(load_config(config), **options, as_json=json):
        print(line)


@command("list losses", "--from my_loss.py", _SOURCE)
def _list_losses(source: str | None) -> None:
    """List every loss: title, reference, heads, parameters."""
    from rspose.losses import load
    from rspose.tools.list_losses import loss_table

    if source:
        load(source)
    print(loss_table(), end="")


@command(
    "new-loss",
    "my_loss",
    argument("name", "of the loss and of its file"),
    path("--folder", "where the file goes (default: baselines in a clone, else here)"),
)
def _new_loss(name: str, folder: Path | None) -> None:
    """Write a loss file that already runs, to be changed."""
    from rspose.tools.new_loss import new_loss, what_to_do

    print(what_to_do(new_loss(name, folder)))


@command("check-loss", "my_loss", argument("name", "its registered name"), _SOURCE)
def _check_loss(name: str, source: str | None) -> int:
    """See whether a loss keeps what every loss promises."""
    from rspose.losses import load
    from rspose.tools.check_loss import check_loss, described

    if source:
        load(source)
    findings = list(check_loss(name))
    print(described(name, findings))
    return int(any(finding.problem for finding in findings))


@command(
    "compare",
    "my_loss --from my_loss.py",
    argument("name", "a registered loss, or a variant that the config names"),
    path("config", "config of a grid", nargs="?", default=_DEMO),
    _SOURCE,
    argument("--datasets", "fewer than the config's", nargs="+", metavar="DATASET"),
    argument("--heads", "fewer than the config's", nargs="+", metavar="HEAD"),
    count("--seeds", "how many, from 0 (default: the config's)"),
    count("--cores", "CPU cores to use (default: all)"),
    flag("--dry-run", "only say what would run"),
)
def _compare(
    name: str,
    config: Path,
    datasets: list[str] | None,
    heads: list[str] | None,
    seeds: int | None,
    **how: Any,
) -> int:
    """Train a loss beside those that have records; print its row, differences and cost."""
    from rspose.tools.compare_run import run_comparison

    part = {"datasets": datasets, "heads": heads, "seeds": seeds and list(range(seeds))}
    named = {key: values for key, values in part.items() if values}
    return run_comparison(config, name, named, **how)


@command(
    "docs",
    "config --check",
    argument(
        "page", "config/README.md, config/schema.json, docs/losses.md or mmpose's numbers", choices=PAGES
    ),
    flag("--check", "only say whether the page is up to date"),
)
def _docs(page: str, check: bool) -> None:
    """Write a page of the documentation that is made from code or metadata."""
    from rspose.tools.pages import update_page

    print(update_page(page, check))
