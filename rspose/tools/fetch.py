"""`rspose data fetch` and `rspose pretrained`: what is fetched, how much, and under which terms, in words."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from rspose.datasets.fetch import bytes_on_disk, described, download, fetch, is_there, stored
from rspose.datasets.interface import Download
from rspose.datasets.manifest import read_manifest
from rspose.datasets.registry import dataset
from rspose.grid.config import GridConfig, data_folder
from rspose.grid.progress import progress
from rspose.tools.dataset_check import report_dataset

_MB, _GB = 10**6, 10**9


def fetch_dataset(name: str, root: Path | None, yes: bool) -> bool:
    """Fetch what is missing of a dataset's official release and check it; whether all is there and right.

    Args:
        root: Its root folder; None for the one that configs name.
        yes: Fetch gigabytes without asking.

    Raises:
        ValueError: Nobody agreed to gigabytes, or ``root`` has a drawn dataset.
        OSError: A download or an archive is not as expected, or there is too little room on the disk.
    """
    known = dataset(name)
    root = root or data_folder(Path("data", known.release.folder or name))
    if read_manifest(root) is not None:
        raise ValueError(f"{root}: a drawn dataset is in this folder; name another one with --root")
    missing = [each for each in known.release.downloads if not is_there(each, root, known.files)]
    by_hand = [each for each in missing if not (each.address or stored(each, root).exists())]
    offered = [each for each in missing if each not in by_hand]
    print(f"{known.title}, into {root}/. Terms: {known.release.terms}")
    for each in known.release.downloads:
        size = f"{each.bytes / _GB:.2f} GB" if each.bytes else "size unknown"
        state = "by hand" if each in by_hand else size if each in offered else "there"
        print(f"{state:>12}  {described(each, root)}")
    _agree(root, offered, yes)
    for each in offered:
        fetch(each, root, _megabytes(each.file))
    if not by_hand:
        return report_dataset(root, name, quick=False)
    for each in by_hand:
        print(f"Fetch {each.file} by hand from {each.page}: {each.by_hand}. Put it at {stored(each, root)}")
    print(f"Then run this again, or rspose data check {quote(str(root))} --dataset {name}")
    return False


def fetch_weights(config: GridConfig) -> list[Path]:
    """Download the weights that a grid needs and lacks; the files of all it needs.

    Raises:
        ValueError: Weights that are missing have no URL.
        OSError: A download fails; the message names the URL.
    """
    from rspose.training.pretrained import missing_weights, needed_weights  # loads what trains

    for weights in missing_weights(config, config.cells()):
        if weights.url is None:
            raise ValueError(f"{weights.problem()}; the config names a file, not a URL")
        print(f"{weights.file}: from {weights.url}", file=sys.stderr)
        download(weights.url, weights.file, _megabytes(weights.file.name))
    return [weights.file for weights in needed_weights(config, config.cells())]


def _agree(root: Path, offered: list[Download], yes: bool) -> None:
    """Ask before gigabytes, and see that there is room for them, and for the largest archive unpacked."""
    left = sum(max(0, (each.bytes or 0) - bytes_on_disk(stored(each, root))) for each in offered)
    needed = left + max((each.bytes or 0 for each in offered), default=0)
    there = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    if (free := shutil.disk_usage(there).free) < needed:
        raise OSError(
            f"{root}: expected room for {needed / _GB:.1f} GB, which archives take while they are unpacked; "
            f"found {free / _GB:.1f} GB"
        )
    if left < _GB or yes:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"{left / _GB:.1f} GB to fetch, and no terminal to ask in; agree with --yes")
    print(f"Fetch {left / _GB:.1f} GB? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ValueError("nothing fetched")


def _megabytes(file: str) -> Callable[[int, int], None]:
    """Shows how far a download is."""
    bar = progress(f"MB of {file}")

    def show(done: int, total: int) -> None:
        whole = -(-total // _MB)
        bar(whole if done == total else done // _MB, whole)

    return show
