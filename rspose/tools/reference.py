"""Reference results: the records of a study and what they were made from, kept beside the code."""

from pathlib import Path

import yaml

from rspose.grid.config import GridConfig, load_config
from rspose.grid.files import replacing
from rspose.grid.fingerprints import cell_settings, sha256_of
from rspose.grid.record import Record, tree
from rspose.grid.records import CHOICES, load_records, pack
from rspose.grid.tuning import keep_choices, tuned
from rspose.reporting.tables import make_tables


def keep_reference(config: Path, out: Path | None = None) -> tuple[Path, str]:
    """Keep the records of a grid, its full config, what its tuning chose, and the tables made of them.

    Args:
        config: The config of a grid that has run, in part or in full.
        out: The folder to write; ``results/reference/NAME`` if left out.

    Returns:
        The folder, and in one line what it holds of the grid.

    Raises:
        ValueError: The tree has changes, or the records are of such a tree, of several commits or of other
            settings than the config's: then nobody could make them again. Or there are none.
    """
    grid = load_config(config)
    folder = out or Path("results/reference") / grid.name
    if tree()["clean"] is None:
        raise ValueError(
            "expected rspose to run from its git checkout, found an installed package (make setup)"
        )
    if not tree()["clean"]:
        raise ValueError("expected a tree without changes, found some (git status): commit them first")
    cells, controls = set(grid.cells()), grid.datasets if grid.controls else []
    # Configs may share a results folder.
    found = load_records(grid.results / "records")
    records = [
        record
        for record in found
        if (record.cell.dataset in controls if record.control else record.cell in cells)
    ]
    if not records:
        raise ValueError(f"{grid.results}/records: expected records, found none: run the grid first")
    if problem := _not_repeatable(grid, records):
        raise ValueError(f"{grid.results}/records: {problem}")
    pack(records, folder / "records.jsonl.xz", coarse=True)
    config_kept = grid.plain()
    if grid.tuning and keep_choices(grid, folder / CHOICES):
        config_kept["tuning"]["choices"] = CHOICES
    with replacing(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config_kept, sort_keys=False, allow_unicode=True))
    make_tables(folder / "records.jsonl.xz", folder / "tables", grid.equivalence)
    there = sum(not record.control for record in records)
    commit = records[0].provenance.git_commit or ""
    return folder, f"{there} of {len(cells)} cells of {config}, of commit {commit[:10]}"


def _not_repeatable(grid: GridConfig, records: list[Record]) -> str:
    """What keeps records from being made again from a commit, in words; empty if nothing does."""
    changed = [record for record in records if record.provenance.clean is not True]
    commits = {record.provenance.git_commit for record in records}
    again = "make them again from one commit without changes"
    if changed:
        of_all = f"{len(changed)} of {len(records)} records"
        return f"{of_all} are of a tree with changes, {changed[0].cell} first: {again}"
    if len(commits) > 1:
        return f"expected records of one commit, found {len(commits)}: {again}"
    other = [
        record
        for record in records
        if not record.control
        and record.content["provenance"].get("config_sha256")
        != sha256_of(cell_settings(tuned(grid, record.cell), record.cell))
    ]
    if other:
        return f"{len(other)} of {len(records)} records are of other settings, {other[0].cell} first: {again}"
    return ""
