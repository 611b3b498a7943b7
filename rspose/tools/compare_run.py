"""The grid that compares one loss with those that have records, and the command that runs it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rspose.grid.config import ConfigError, GridConfig, load_config
from rspose.grid.records import load_failures
from rspose.reporting.difference_tables import beside, cost_table
from rspose.reporting.markdown import to_markdown
from rspose.reporting.results import read_results
from rspose.reporting.statistics import REFERENCE
from rspose.reporting.tables import main_table, make_tables
from rspose.tools.bench import Bench

_REPOSITORY = Path(__file__).parents[2]


class Comparison(NamedTuple):
    """A loss beside others."""

    config: GridConfig
    arguments: list[str]  # of snakemake, that run it up to its tables
    left_out: list[str]  # losses of the config's own grid that have cells without a record


def compare_with(
    path: Path,
    loss: str,
    source: str | None = None,
    cores: int | None = None,
    dry_run: bool = False,
    part: Mapping[str, list[Any]] | None = None,
) -> Comparison:
    """Plan the comparison of a loss with MSE and with every loss of a config whose cells all have a record.

    So nothing is trained but the cells of the loss itself, and those of MSE where they are missing.

    Args:
        path: The config, of which all but the losses is used.
        loss: A registered loss, or a variant that the config names in ``loss_settings``.
        source: Where the loss comes from if it is not of the project, see ``losses_from``.
        cores: As snakemake's profile says if left out.
        dry_run: Only say what would run.
        part: Of the grid: keys ``datasets``, ``heads`` and ``seeds``, where they are not the config's.

    Raises:
        ConfigError: The config, or the loss in it, cannot be used.
    """
    part = part or {}
    config = load_config(path).changed(**part)
    sources = list(dict.fromkeys([*config.losses_from, *([source] if source else [])]))
    others = [name for name in config.losses if name not in (REFERENCE, loss)]
    config = config.changed(losses_from=sources, losses=[*others, loss])
    if all(cell.loss != loss for cell in config.cells()):
        if loss in config.loss_settings and config.loss_settings[loss].models:
            of = f"see loss_settings.{loss}.models"
            raise ConfigError(f"loss {loss!r} is trained with none of the config's models; {of}")
        heads = "', '".join(config.heads)
        raise ConfigError(
            f"loss {loss!r} serves none of the config's heads ('{heads}') with a model that has it"
        )
    without = {cell.loss for cell in config.unfinished()}
    first = [] if loss == REFERENCE else [REFERENCE]
    losses = [*first, *(name for name in others if name not in without), loss]
    arguments = ["tables", "--configfile", str(path)]
    arguments += [] if cores is None else ["--cores", str(cores)]
    arguments += [] if Path.cwd() == _REPOSITORY else ["--snakefile", str(_REPOSITORY / "Snakefile")]
    arguments += ["--dry-run", "--quiet", "rules"] if dry_run else []
    arguments += ["--config", f"losses=[{','.join(losses)}]"]
    arguments += [f"{key}=[{','.join(map(str, values))}]" for key, values in part.items()]
    arguments += [f"losses_from={json.dumps(sources)}"] if sources else []
    return Comparison(config.changed(losses=losses), arguments, [each for each in others if each in without])


def run_comparison(
    path: Path, loss: str, part: Mapping[str, list[Any]], dry_run: bool = False, **how: Any
) -> int:
    """Plan a comparison as :func:`compare_with`, run it and print what came out; snakemake's exit code.

    Raises:
        ValueError: It cannot be planned, or no cell of the loss was finished.
    """
    planned = compare_with(path, loss, part=part, dry_run=dry_run, **how)
    seeds = planned.config.seeds
    if len(seeds) > 1 and not dry_run and any(cell.seed == seeds[0] for cell in planned.config.unfinished()):
        print(f"First with seed {seeds[0]} alone, for a first table; then with all {len(seeds)}", flush=True)
        first = {**part, "seeds": seeds[:1]}
        if status := run_comparison(path, loss, first, dry_run, **how):
            return status
    print(f"Running: {shlex.join(['snakemake', *planned.arguments])}", flush=True)
    if planned.left_out:
        hint = f"some have no record; snakemake --configfile {path} trains them"
        print(f"Not compared in every cell with {', '.join(planned.left_out)}: {hint}", flush=True)
    left = [str(cell) for cell in planned.config.unfinished()]
    if left and planned.config.tuning:
        print(
            f"Of each loss that has no choice yet, {planned.config.tuning.trials} trials come first",
            flush=True,
        )
    print("\n  ".join(["Cells without a record:", *left]) if left else "Every cell has a record", flush=True)
    tools = Path(sys.executable).parent  # the jobs look for python there
    environment = {**os.environ, "PATH": f"{tools}:{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", "snakemake", *planned.arguments]
    status = subprocess.run(command, env=environment, check=False).returncode
    if not dry_run:
        _print_comparison(planned.config, loss, status != 0)
    return status


def _print_comparison(config: GridConfig, name: str, failed: bool) -> None:
    records = config.results / "records"
    own = [cell for cell in config.cells() if cell.loss == name]
    left = [cell for cell in config.unfinished() if cell.loss == name]
    if failed:
        for failure in load_failures([], records):
            if failure.cell in left:
                print(f"failed: {failure.cell}: {failure.error}", file=sys.stderr)
        # The workflow makes no tables then: those of the cells that are there.
        make_tables(records, config.results / "tables", config.equivalence)
    found = read_results(records, config.equivalence)
    # The folder may hold more records of other lengths.
    ours = [each for each in found.lengths if set(own) & {record.cell for record in each.records}]
    results = ours[-1] if ours else found
    print(f"\n{to_markdown(main_table(results))}")
    if failed and left == own:
        raise ValueError(f"no record of {name}: none of its cells was finished")
    print(to_markdown(beside(results, name)))
    measured = {}
    for head in dict.fromkeys(cell.head for cell in own):
        settings = config.loss_of(name, head)
        measured[head] = Bench(head).loss(settings.loss, settings.parameters)
    print(to_markdown(cost_table(results, name, measured)))
