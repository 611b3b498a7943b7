"""The command line.

Grids and their results: `rspose data`, `plan`, `pretrained`, `table`, `tables`, `report`, `versus`, `diff`.
A loss of one's own: `new-loss`, `check-loss`, `compare`, `list losses`. The project itself: `bench`, `docs`.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rspose.datasets.keypoints import KEYPOINT_SETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 1, with one line on stderr, if it failed."""
    parsed = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return run(parsed)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (nothing is left to be flushed at the end)
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rspose", description="Compare heatmap losses for human-pose estimation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = commands.add_parser("data", help="generated and real datasets").add_subparsers(
        required=True, metavar="COMMAND"
    )
    make = data.add_parser("make", help="draw a dataset with the files of the real one")
    make.add_argument("--dataset", choices=sorted(KEYPOINT_SETS), required=True)
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="root folder of the new dataset")
    make.add_argument(
        "--images", type=_positive, default=900, metavar="N", help="training images (default: %(default)s)"
    )
    make.add_argument(
        "--val-images", type=_positive, metavar="N", help="validation images (default: a quarter of N)"
    )
    make.add_argument(
        "--seed", type=int, default=0, metavar="S", help="same seed, same bytes (default: %(default)s)"
    )
    make.add_argument(
        "--size",
        type=_positive,
        nargs=2,
        default=(320, 240),
        metavar=("W", "H"),
        help="image size (default: 320 240)",
    )
    make.set_defaults(run=_make)

    show = data.add_parser("show", help="draw a contact sheet: images with their annotations")
    show.add_argument("root", type=Path, help="root folder of the dataset")
    show.add_argument("--dataset", choices=sorted(KEYPOINT_SETS), required=True)
    show.add_argument("--split", choices=("train", "val"), default="val")
    show.add_argument(
        "--images", type=_positive, default=24, metavar="N", help="images drawn (default: %(default)s)"
    )
    show.add_argument("--out", type=Path, default=Path("contact_sheet.png"), metavar="FILE")
    show.set_defaults(run=_show)

    check = data.add_parser("check", help="verify a dataset: files, counts, checksums, images; what to fetch")
    check.add_argument("root", type=Path, help="root folder of the dataset")
    check.add_argument("--dataset", choices=sorted(KEYPOINT_SETS), required=True)
    check.add_argument("--quick", action="store_true", help="do not open every image")
    check.set_defaults(run=_check)

    table = commands.add_parser("table", help="print the main table of a grid and say where the others are")
    table.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    table.set_defaults(run=_table)

    tables = commands.add_parser("tables", help="make all tables of finished records; needs no torch")
    tables.add_argument(
        "records", type=Path, nargs="+", metavar="RECORDS", help="folders of records, which are merged"
    )
    tables.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the tables")
    tables.set_defaults(run=_tables)

    report = commands.add_parser(
        "report", help="make the report of finished records, one HTML file; needs no torch"
    )
    report.add_argument(
        "records", type=Path, nargs="+", metavar="RECORDS", help="folders of records, which are merged"
    )
    report.add_argument(
        "--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: %(default)s"
    )
    report.set_defaults(run=_report)

    against = commands.add_parser(
        "versus", help="one loss minus another, paired: accuracy, confidence, what ordering costs"
    )
    against.add_argument("loss", help="name of a loss, e.g. rspose")
    against.add_argument("other", help="name of the loss to subtract, e.g. spatial-rs")
    against.add_argument(
        "--records",
        type=Path,
        nargs="+",
        default=[Path("results/records")],
        metavar="DIR",
        help="folders of records (default: results/records)",
    )
    against.add_argument("--latex", action="store_true", help="print the table in LaTeX instead of Markdown")
    against.set_defaults(run=_versus)

    diff = commands.add_parser(
        "diff", help="compare two result sets: numbers beyond their intervals, cells, settings, versions"
    )
    diff.add_argument("first", type=Path, metavar="A", help="folder of records")
    diff.add_argument("second", type=Path, metavar="B", help="folder of records to compare with it")
    diff.set_defaults(run=_diff)

    _add_plan(commands)

    bench = commands.add_parser("bench", help="measure time and memory").add_subparsers(
        required=True, metavar="WHAT"
    )
    losses = bench.add_parser("losses", help="every loss on every head, and the ranking operator")
    losses.add_argument("--json", action="store_true", help="one line of JSON a loss and head")
    losses.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    losses.add_argument(
        "--repeats", type=_positive, default=7, metavar="N", help="runs a median is taken of (default: 7)"
    )
    losses.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: torch's)")
    losses.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of keypoints and predictions (default: 0)"
    )
    losses.set_defaults(run=_bench_losses)
    steps = bench.add_parser("steps", help="training steps of a config's model, with each of its losses")
    steps.add_argument(
        "config", type=Path, nargs="?", default=Path("config/paper.yaml"), help="default: %(default)s"
    )
    for what in ("dataset", "model", "head"):
        steps.add_argument(f"--{what}", metavar=what[0].upper(), help="default: the config's first")
    steps.add_argument("--losses", nargs="+", metavar="L", help="default: the config's")
    steps.add_argument("--batch", type=_positive, metavar="N", help="default: the training's; 16 on a CPU")
    steps.add_argument("--device", choices=("cpu", "cuda"), help="default: the training's")
    steps.add_argument(
        "--rounds", type=_positive, default=7, metavar="N", help="steps with each loss (default: %(default)s)"
    )
    steps.add_argument("--json", action="store_true", help="one line of JSON a loss")
    steps.set_defaults(run=_bench_steps)

    listed = commands.add_parser("list", help="what there is").add_subparsers(required=True, metavar="WHAT")
    listed_losses = listed.add_parser("losses", help="every loss: title, reference, heads, parameters")
    _add_source(listed_losses)
    listed_losses.set_defaults(run=_list_losses)

    new = commands.add_parser("new-loss", help="write a loss file that already runs, to be changed")
    new.add_argument("name", help="of the loss and of its file, e.g. my_loss")
    new.add_argument("--folder", type=Path, metavar="DIR", help="where the file goes (default: baselines)")
    new.set_defaults(run=_new_loss)

    check_loss = commands.add_parser("check-loss", help="see whether a loss keeps what every loss promises")
    check_loss.add_argument("name", help="its registered name, e.g. my_loss")
    _add_source(check_loss)
    check_loss.set_defaults(run=_check_loss)

    compare = commands.add_parser(
        "compare", help="train a loss beside those that have records; print its row, differences and cost"
    )
    compare.add_argument("name", help="a registered loss, or a variant that the config names")
    _add_source(compare)
    compare.add_argument("--config", type=Path, default=Path("config/demo.yaml"), help="default: %(default)s")
    compare.add_argument("--cores", type=_positive, metavar="N", help="CPU cores to use (default: all)")
    compare.add_argument("--dry-run", action="store_true", help="only say what would run")
    compare.set_defaults(run=_compare)

    docs = commands.add_parser("docs", help="write documentation that is made from code").add_subparsers(
        required=True, metavar="PAGE"
    )
    config = docs.add_parser("config", help="config/README.md from the schema")
    config.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    config.set_defaults(run=_docs_config)
    published = docs.add_parser("published", help="results/published/mmpose.csv from mmpose's metadata")
    published.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    published.set_defaults(run=_docs_published)
    losses_page = docs.add_parser("losses", help="docs/losses.md from the loss files")
    losses_page.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    losses_page.set_defaults(run=_docs_losses)
    return parser


def _add_plan(commands: Any) -> None:
    plan = commands.add_parser(
        "plan", help="what a grid takes before it is launched: hours, memory, disk, what is missing"
    )
    plan.add_argument("config", type=Path)
    plan.add_argument("--json", action="store_true", help="everything as JSON")
    plan.add_argument(
        "--measure", action="store_true", help="time training steps of every model and loss on this machine"
    )
    plan.add_argument(
        "--tflops",
        type=float,
        default=20.0,
        metavar="T",
        help="trillion operations a second that a training is taken to reach where nothing is measured "
        "(default: %(default)s, an assumption)",
    )
    plan.add_argument(
        "--device-memory",
        type=float,
        default=80.0,
        metavar="GB",
        help="memory of a GPU of the cluster (default: %(default)s)",
    )
    plan.set_defaults(run=_plan)

    pretrained = commands.add_parser(
        "pretrained", help="download the weights that a grid's models start from"
    )
    pretrained.add_argument("config", type=Path)
    pretrained.set_defaults(run=_pretrained)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        help="of a loss from outside the project: a .py file, or an entry point of the group rspose.losses",
    )


_PROBLEMS_SHOWN = 20


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text}")
    return number


def _make(arguments: argparse.Namespace) -> int:
    from rspose.drawn import make_dataset

    def show_progress(done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            print(f"\r{done}/{total} images", end="\n" if done == total else "", file=sys.stderr, flush=True)

    make_dataset(
        arguments.dataset,
        arguments.out,
        images=arguments.images,
        val_images=arguments.val_images or max(1, arguments.images // 4),
        seed=arguments.seed,
        size=tuple(arguments.size),
        progress=show_progress,
    )
    print(f"{arguments.dataset} dataset written to {arguments.out}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from rspose.tools.contact_sheet import contact_sheet

    contact_sheet(arguments.root, arguments.dataset, arguments.split, arguments.images, arguments.out)
    print(f"contact sheet written to {arguments.out}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from rspose.datasets import inspect_dataset, what_to_fetch

    def show_progress(done: int, total: int) -> None:
        if done == total or done % 500 == 0:
            end = "\n" if done == total else ""
            print(f"\ropened {done}/{total} images", end=end, file=sys.stderr, flush=True)

    progress = show_progress if sys.stderr.isatty() else None
    found = inspect_dataset(arguments.root, arguments.dataset, not arguments.quick, progress)
    for split, counts in found.counts.items():
        print(f"{split}: {counts.images:,} images, {counts.persons:,} annotated persons")
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems[:_PROBLEMS_SHOWN]:
        print(f"error: {problem}", file=sys.stderr)
    if len(found.problems) > _PROBLEMS_SHOWN:
        print(f"error: and {len(found.problems) - _PROBLEMS_SHOWN} more of this kind", file=sys.stderr)
    if found.problems:
        print(f"The official {arguments.dataset} dataset is made of:")
        for line in what_to_fetch(arguments.root, arguments.dataset):
            print(f"  {line}")
        return 1
    opened = "" if arguments.quick else ", and every image opens"
    print(f"{arguments.root}: every file of the {arguments.dataset} dataset is there and readable{opened}")
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from rspose.grid.config import load_config

    tables = Path(load_config(arguments.config)["results"]) / "tables"
    main_table = tables / "main.md"
    if not main_table.is_file():
        raise ValueError(f"{main_table}: no such table; run snakemake --configfile {arguments.config} first")
    print(main_table.read_text())
    print(f"All tables (Markdown, LaTeX, CSV): {tables}/   figures: {tables.parent / 'figures'}/")
    return 0


def _tables(arguments: argparse.Namespace) -> int:
    from rspose.reporting.tables import make_tables

    written = make_tables(arguments.records, arguments.out)
    names = dict.fromkeys(path.stem for path in written)
    print((arguments.out / "main.md").read_text(encoding="utf-8"))
    print(f"Tables (Markdown, LaTeX, CSV) in {arguments.out}/: {', '.join(names)}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from rspose.reporting.report.page import make_report

    path = make_report(arguments.records, arguments.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0


def _versus(arguments: argparse.Namespace) -> int:
    from rspose.grid.records import load_records
    from rspose.reporting.latex import to_latex
    from rspose.reporting.markup import to_markdown
    from rspose.reporting.versus import versus

    table = versus(load_records(*arguments.records), arguments.loss, arguments.other)
    print(to_latex(table) if arguments.latex else to_markdown(table))
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from rspose.grid.records import load_records
    from rspose.reporting.agreement import compare, described

    sets = []
    for folder in (arguments.first, arguments.second):
        sets.append(load_records(folder))
        if not sets[-1]:
            raise ValueError(f"no usable record under {folder}")
    agreement = compare(*sets)
    print(described(agreement, str(arguments.first), str(arguments.second)))
    return 0 if agreement.complete else 1


def _plan(arguments: argparse.Namespace) -> int:
    from rspose.grid.config import load_config
    from rspose.tools.plan import make_plan
    from rspose.tools.plan_page import plan_page

    if not arguments.tflops > 0:
        raise ValueError(f"--tflops: expected a number above 0, found {arguments.tflops}")

    def show_progress(what: str, number: int, total: int) -> None:
        line = f"\r{number}/{total} {what:<50}" if sys.stderr.isatty() else ""
        print(line, end="\n" if line and number == total else "", file=sys.stderr, flush=True)

    config = load_config(arguments.config)
    with contextlib.redirect_stdout(io.StringIO()):  # mmpose's dataset classes print while they read
        plan = make_plan(config, arguments.tflops, arguments.measure, arguments.device_memory, show_progress)
    print(json.dumps(plan.as_dict(), indent=1) if arguments.json else plan_page(plan, arguments.config))
    return 0


def _pretrained(arguments: argparse.Namespace) -> int:
    from rspose.grid.config import cells, load_config
    from rspose.training.pretrained import fetch, pretrained

    config = load_config(arguments.config)
    pairs = dict.fromkeys((cell.model, cell.head) for cell in cells(config))
    starts = [weights for weights in dict.fromkeys(pretrained(config, *pair) for pair in pairs) if weights]
    if not starts:
        print(f"{arguments.config}: no model of it starts from pretrained weights")
    for weights in starts:
        if weights.problem() is not None:
            fetch(weights)
        print(f"{weights.file}: there")
    return 0


def _bench_losses(arguments: argparse.Namespace) -> int:
    import torch

    from rspose.tools.bench import bench_losses, machine

    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.json:
        print(f"Batch of 64 x 17; heatmaps 48 x 64, SimCC 384 + 512 bins; {machine(arguments.device)}\n")
        print("| loss | head | forward ms | backward ms | extra MB | x MSE | published / it | dense / it |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for measured in bench_losses(arguments.device, arguments.repeats, arguments.seed):
        if arguments.json:
            print(json.dumps({**measured.as_dict(), "machine": machine(arguments.device)}), flush=True)
            continue
        numbers = (
            measured.forward_ms,
            measured.backward_ms,
            measured.extra_mb,
            measured.times_mse,
            measured.times_faster_than_published,
            measured.times_faster_than_dense,
        )
        cells = ["" if number is None else f"{number:.1f}" for number in numbers]
        print(f"| {' | '.join((measured.loss, measured.head, *cells))} |", flush=True)
    return 0


def _bench_steps(arguments: argparse.Namespace) -> int:
    from rspose.grid.config import load_config
    from rspose.tools.bench import machine
    from rspose.tools.steps import bench_steps

    chosen = {key: getattr(arguments, key) for key in ("dataset", "model", "head") if getattr(arguments, key)}

    def show_progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done}/{total} rounds", end="\n" if done == total else "", file=sys.stderr, flush=True)

    cell, device, steps = bench_steps(
        load_config(arguments.config),
        chosen,
        arguments.losses,
        arguments.device,
        arguments.rounds,
        arguments.batch,
        show_progress,
    )
    first = next(iter(steps.seconds))
    if not arguments.json:
        print(
            f"{cell.model}, {cell.head} head, {cell.dataset}: batches of {steps.batch}; {machine(device)}\n"
        )
        print(f"| loss | ms a step | x {first}: median | lowest | highest | peak GB |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for loss, seconds in steps.seconds.items():
        times = steps.times(loss, first)
        said = {
            "ms": 1000 * statistics.median(seconds),
            "times": statistics.median(times),
            "times_lowest": min(times),
            "times_highest": max(times),
            "peak_gb": steps.peak_bytes[loss] / 1e9 if steps.peak_bytes else None,
        }
        if arguments.json:
            setting = {"dataset": cell.dataset, "model": cell.model, "head": cell.head, "batch": steps.batch}
            print(json.dumps({"loss": loss, **said, "than": first, **setting, "machine": machine(device)}))
            continue
        peak = "" if said["peak_gb"] is None else f"{said['peak_gb']:.2f}"
        ratios = " | ".join(f"{said[key]:.3f}" for key in ("times", "times_lowest", "times_highest"))
        print(f"| {loss} | {said['ms']:.1f} | {ratios} | {peak} |")
    return 0


def _list_losses(arguments: argparse.Namespace) -> int:
    from rspose.losses import available, load
    from rspose.tools.loss_listing import loss_table

    if arguments.source:
        load(arguments.source)
    print(loss_table(available().values()), end="")
    return 0


def _new_loss(arguments: argparse.Namespace) -> int:
    from rspose.tools.loss_template import new_loss

    path = new_loss(arguments.name, arguments.folder)
    source = f" --from {path}" if arguments.folder else ""
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    print(f"{shown} written: it already runs. Change it, then")
    print(f"  rspose check-loss {arguments.name}{source}")
    print(f"  rspose compare {arguments.name}{source}")
    return 0


def _check_loss(arguments: argparse.Namespace) -> int:
    from rspose.losses import load
    from rspose.tools.conformance import Finding, check_loss

    if arguments.source:
        load(arguments.source)
    parts: dict[str, list[Finding]] = {}
    for finding in check_loss(arguments.name):
        parts.setdefault(finding.head, []).append(finding)
    titles = {"description": "description", "heatmap": "2D (heatmap)", "simcc": "1D (simcc)"}
    for part, findings in parts.items():
        problems = [finding for finding in findings if finding.problem]
        print(f"{titles[part]}: {len(findings) - len(problems)} of {len(findings)} checks passed")
        for finding in problems:
            print(f"  - {finding.check}\n    {finding.problem}")
    failed = any(finding.problem for findings in parts.values() for finding in findings)
    print(f"{arguments.name}: {'not yet a loss of the benchmark' if failed else 'all checks passed'}")
    return 1 if failed else 0


def _compare(arguments: argparse.Namespace) -> int:
    from rspose.tools.compare_run import compare_with

    planned = compare_with(
        arguments.config, arguments.name, arguments.source, arguments.cores, arguments.dry_run
    )
    print(f"Running: {planned.command}", flush=True)
    if planned.left_out:
        print(
            f"Not compared in every cell with {', '.join(planned.left_out)}: some have no record; "
            f"snakemake --configfile {arguments.config} trains them",
            flush=True,
        )
    status = planned.run()
    if not arguments.dry_run:
        _print_comparison(planned.config, arguments.name, status != 0)
    return status


def _print_comparison(config: dict[str, Any], name: str, failed: bool) -> None:
    from rspose.grid.config import cells, loss_settings
    from rspose.grid.write_record import failure_note
    from rspose.reporting.compare import LossCost, comparison, cost
    from rspose.reporting.tables import make_tables
    from rspose.tools.bench import bench_loss

    records, tables = Path(config["results"]) / "records", Path(config["results"]) / "tables"
    own = [cell for cell in cells(config) if cell.loss == name]
    if failed:
        # The workflow makes no tables then: those of the cells that are there.
        make_tables(records, tables)
        for cell in own:
            note = failure_note(config, cell)
            if note.is_file() and not (records / f"{cell.path}.json").is_file():
                print(f"failed: {cell}: {json.loads(note.read_text())['failed']['error']}", file=sys.stderr)
    print(f"\n{(tables / 'main.md').read_text()}")
    if failed and not any((records / f"{cell.path}.json").is_file() for cell in own):
        raise ValueError(f"no record of {name}: none of its cells was finished")
    print(comparison(records, name))
    measured = {}
    for head in dict.fromkeys(cell.head for cell in own):
        settings = loss_settings(config, name, head)
        found = bench_loss(settings["loss"], settings["parameters"], head)
        measured[head] = LossCost(found.forward_ms + found.backward_ms, found.extra_mb, found.times_mse)
    print(cost(records, name, measured))


def _docs_config(arguments: argparse.Namespace) -> int:
    from rspose.tools.config_page import PAGE, config_page

    return _page(PAGE, config_page(), arguments.check, "the schema")


def _docs_losses(arguments: argparse.Namespace) -> int:
    from rspose.tools.loss_listing import PAGE, losses_page

    return _page(PAGE, losses_page(), arguments.check, "the loss files")


def _page(page: Path, text: str, check: bool, made_from: str) -> int:
    """Write a page, or only see whether it is up to date."""
    if not check:
        page.write_text(text)
        print(f"{page} written")
    elif not page.is_file() or page.read_text() != text:
        raise ValueError(f"{page} differs from {made_from}: run make docs")
    return 0


def _docs_published(arguments: argparse.Namespace) -> int:
    from rspose.tools.mmpose_numbers import CLAIMS, mmpose_claims

    if not arguments.check:
        CLAIMS.write_text(mmpose_claims(CLAIMS))
        print(f"{CLAIMS} written")
    elif CLAIMS.read_text() != mmpose_claims(CLAIMS):
        raise ValueError(f"{CLAIMS} differs from the metadata of the installed mmpose: run make docs")
    return 0
