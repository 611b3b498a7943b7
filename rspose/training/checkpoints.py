"""The checkpoints that a training goes on from: written whole or not at all, checked before they are used.

mmengine writes a checkpoint in place and then its name into a file that it believes at the next start: a
process that is killed in between leaves half a checkpoint, or a name without one.
"""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from rspose.grid.files import replacing

_EPOCH = re.compile(r"epoch_(\d+)\.pth")


@register_backend("whole_file")
class WholeFileBackend(LocalBackend):
    """mmengine's access to local files, for a ``CheckpointHook``: a file is written whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj``; a process killed meanwhile leaves what was there."""
        with replacing(Path(filepath)) as temporary:
            temporary.write_bytes(obj)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keep out of a checkpoint what torch cannot read as plain data.

    That is mmengine's history of logged values, an object of its own, and numpy arrays in the description of
    the dataset. No step of a training depends on either.
    """

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Leave in the names of the checkpoints only, which say which are removed after the next."""
        info = {"keep_ckpt_ids": runner.message_hub.get_info("keep_ckpt_ids", [])}
        checkpoint["message_hub"] = {"log_scalars": {}, "runtime_info": info, "resumed_keys": {}}
        checkpoint["meta"].pop("dataset_meta", None)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Spare the log a warning that the dataset has no description."""
        checkpoint.setdefault("meta", {})["dataset_meta"] = runner.train_dataloader.dataset.metainfo


def latest_checkpoint(folder: Path, terminals: Iterable[TextIO]) -> Path | None:
    """The newest checkpoint in ``folder`` that is whole, None without one.

    Every one that is damaged is named in a line on each of ``terminals``. What a killed process left
    half-written is removed.
    """
    for unfinished in folder.glob(".epoch_*"):
        unfinished.unlink(missing_ok=True)
    named = ((_EPOCH.fullmatch(file.name), file) for file in folder.glob("epoch_*.pth") if file.is_file())
    checkpoints = {int(match[1]): file for match, file in named if match}
    for _, checkpoint in sorted(checkpoints.items(), reverse=True):
        problem = _damage(checkpoint)
        if problem is None:
            return checkpoint
        line = f"{checkpoint}: damaged checkpoint ({problem}); going on from the one before"
        for terminal in terminals:
            print(line, file=terminal)
    return None


def _damage(checkpoint: Path) -> str | None:
    # torch writes zip archives, but does not compare the checksums of their members when it reads them.
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            member = archive.testzip()
    except Exception as error:  # of damaged headers there are many kinds
        return str(error) or type(error).__name__
    return None if member is None else f"wrong checksum of {member}"
