"""Weights from files: read as plain data, of which nothing is run, and loaded whole or not at all."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

# What a checkpoint may keep its weights under.
_WRAPPINGS = ("state_dict_ema", "state_dict", "model_ema", "model")
_PREFIXES = ("backbone.", "module.backbone.", "module.")
# HRNet's last stage gives one feature map for poses, and has no use for the layers that fuse the others.
_OPTIONAL = re.compile(r"\.fuse_layers\.")
COUNTERS = ".num_batches_tracked"  # which files of old versions lack, and which no output depends on


@dataclass(frozen=True)
class Loaded:
    """What a network took from a file of weights.

    Attributes:
        file: Its name.
        matched: Tensors that were taken, all that the network has.
        left_out: Modules of the file that the network does not have, a classifier say.
    """

    file: str
    matched: int
    left_out: tuple[str, ...]


def sha256_of_weights(path: Path) -> str:
    """SHA-256 over names and values of the weights of a checkpoint, however the file was written."""
    digest = hashlib.sha256()
    for name, value in sorted(read_checkpoint(path)["state_dict"].items()):
        digest.update(name.encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> Any:
    """What torch.save wrote, if it is plain data: tensors, numbers, texts, lists and dictionaries.

    mmengine's own loader lets a file call ``getattr``, and loads what it cannot read so as code.

    Raises:
        ValueError: If the file is broken or holds anything else; the message names it, in one line.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: expected a file of weights, found no file") from None
    except Exception as error:  # torch, pickle, zipfile and safetensors have many
        with open(path, "rb") as file:
            start = file.read(64).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            found = "a web page"
        else:
            found = f"one that is broken or holds code ({type(error).__name__})"
        raise ValueError(
            f"{path}: expected a file of weights alone, as torch.save writes a state dict, found {found}"
        ) from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without a prefix such as ``backbone.``.

    Raises:
        ValueError: As :func:`read_checkpoint`, or if there are other things than tensors.
    """
    content = read_checkpoint(path)
    for key in _WRAPPINGS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: expected tensors by name, found {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {name}: expected a tensor, found {type(value).__name__}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{path}: {name}: expected finite numbers, found NaN or infinity")
    for prefix in _PREFIXES:
        if any(name.startswith(prefix) for name in content):
            return {
                name.removeprefix(prefix): value for name, value in content.items() if name.startswith(prefix)
            }
    return content


def load_whole(network: nn.Module, path: Path, weights: dict[str, Tensor] | None = None) -> Loaded:
    """Load a file of weights into a network of the same names and shapes.

    Modules of the file that the network does not have at all are left out.

    Args:
        network: The network.
        path: The file.
        weights: What it holds, where the names had to be brought into those of the network.

    Raises:
        ValueError: If a tensor of the network is not in the file, or one of the file has no place in a module
            that the network has; the message names the file and the first, and nothing is loaded.
    """
    theirs, ours = weights or read_weights(path), network.state_dict()
    modules = {name.split(".")[0] for name in ours}
    others = [name for name in theirs if name not in ours]
    wrong = [
        f"{name}, which this network lacks"
        for name in others
        if name.split(".")[0] in modules and not _OPTIONAL.search(name)
    ]
    missing = [f"no {name}" for name in ours if name not in theirs and not name.endswith(COUNTERS)]
    refuse(path, network, [*missing, *_shapes(theirs, ours), *wrong], len(ours))
    network.load_state_dict(
        {**ours, **{name: value for name, value in theirs.items() if name in ours}}, strict=True
    )
    left_out = dict.fromkeys(name.split(".")[0] for name in others)
    return Loaded(path.name, sum(name in theirs for name in ours), tuple(left_out))


def _shapes(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> list[str]:
    return [
        f"{name} of shape {tuple(theirs[name].shape)} for {tuple(value.shape)}"
        for name, value in ours.items()
        if name in theirs and theirs[name].shape != value.shape
    ]


def refuse(path: Path, network: nn.Module, differences: list[str], tensors: int) -> None:
    """Raise ``ValueError`` with the first difference between a file and a network, if there is one."""
    if differences:
        more = f" and {len(differences) - 1} more differences" if differences[1:] else ""
        raise ValueError(
            f"{path}: expected the {tensors} tensors of this {type(network).__name__}, "
            f"found {differences[0]}{more}"
        )


class _WholeWeights:
    """In place of mmengine's ``PretrainedInit``, which loads what fits and goes on."""

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = "cpu") -> None:
        self.checkpoint = Path(checkpoint)

    def __call__(self, module: Any) -> None:
        module.loaded_weights = load_whole(module, self.checkpoint)


def load_safely() -> None:
    """From here on mmengine loads checkpoints as plain data, and weights whole, in this process."""
    WEIGHT_INITIALIZERS.register_module("Pretrained", module=_WholeWeights, force=True)
    CheckpointLoader.register_scheme("", lambda file, map_location: read_checkpoint(Path(file)), force=True)
