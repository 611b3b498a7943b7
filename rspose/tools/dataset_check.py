"""What `rspose data check` finds, in words."""

import shlex
import sys
from pathlib import Path

from rspose.datasets.check import inspect_dataset, what_to_fetch
from rspose.grid.progress import progress

_PROBLEMS_SHOWN = 20


def report_dataset(root: Path, dataset: str, quick: bool, least_keypoints: int | None = None) -> bool:
    """Print what is there, what is wrong, and what to fetch if something is; whether all is well."""
    bar = progress("images opened") if sys.stderr.isatty() else None
    found = inspect_dataset(root, dataset, not quick, bar, least_keypoints)
    for split, counts in found.counts.items():
        print(f"{split}: {counts.images:,} images, {counts.persons:,} annotated persons")
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems[:_PROBLEMS_SHOWN]:
        print(f"error: {problem}", file=sys.stderr)
    if len(found.problems) > _PROBLEMS_SHOWN:
        print(f"error: and {len(found.problems) - _PROBLEMS_SHOWN} more problems", file=sys.stderr)
    if found.problems:
        print(f"The official {dataset} dataset is made of:", *what_to_fetch(root, dataset), sep="\n  ")
        print(f"rspose data fetch {dataset} --root {shlex.quote(str(root))} brings what has an address.")
    else:
        opened = "" if quick else ", and every image opens"
        print(f"{root}: every file of the {dataset} dataset is there and readable{opened}")
    return not found.problems
