"""A new loss from a template: `rspose new-loss my_loss`."""

import importlib.util
import sys
from pathlib import Path
from shlex import quote
from string import Template

from rspose.losses.registry import available, baselines_folder, name_problem, unusable

_TEMPLATE = Template('''"""$title: say in one line what is compared with what."""

from torch import Tensor

from rspose.losses import PerMapLoss, register


@register
class $class_name(PerMapLoss):
    """Squared error that counts more where the label is high: the formula and its source belong here.

    Args:
        foreground: weight of the keypoint's place beside that of the background, at least 0.
    """

    name = "$name"  # in configs and records
    title = "$title"  # in tables and figures
    reference = "unpublished"  # authors, title, venue, arXiv number
    heads = ("heatmap", "simcc")  # 2D and 1D; for one of them alone: ("simcc",)

    # A parameter with a default can be set in a config, and every row says which value it had.
    def __init__(self, foreground: float = 10.0) -> None:
        super().__init__()
        self.foreground = foreground

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        # prediction: raw output of the head, [M, N], for M visible keypoints: N pixels (2D) or bins (1D).
        # label: the Gaussian around the keypoint, [M, N], in [0, 1]. It is 1 at the keypoint itself,
        # which lies between pixels: the highest pixel, label.amax(dim=-1), is hardly ever 1.
        # Return one number a map, [M], the smaller the better the map. Masking and means are done for you.
        weight = 1 + self.foreground * label
        return (weight * (prediction - label).square()).mean(dim=-1)
''')

_TO_BE_REPLACED = (
    "say in one line what is compared with what",
    "the formula and its source belong here",
)


def new_loss(name: str, folder: Path | None = None) -> Path:
    """Write a loss file that already runs, to be changed, and return it.

    Args:
        name: Name of the loss and of its file.
        folder: Where the file goes. If left out, ``baselines`` of the clone of this project that the current
            folder lies in, where it is found by itself; elsewhere the current folder.

    Raises:
        ValueError: The name is none, is taken, or shadows a Python module; the message says which.
        FileExistsError: The file is there already.
        NotADirectoryError: There is no such folder.
    """
    if problem := name_problem(name):
        raise ValueError(f"loss name: {problem}")
    if taken := available().get(name):
        raise ValueError(f"loss name {name!r} is taken by {taken.__module__}.{taken.__qualname__}")
    if name in unusable():
        raise ValueError(f"loss name {name!r} is taken: {unusable()[name]}")
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise ValueError(f"loss name {name!r} shadows the Python module of that name: take another one")
    if folder is None:
        above = (Path.cwd(), *Path.cwd().parents)
        clones = (each / "baselines" for each in above if (each / "rspose/losses").is_dir())
        folder = next(filter(Path.is_dir, clones), Path.cwd())
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder")
    path, words = folder / f"{name}.py", name.split("_")
    class_name = "".join(word[:1].upper() + word[1:] for word in words).removesuffix("Loss") + "Loss"
    for other in available().values():
        if other.__name__ == class_name:
            raise ValueError(
                f"loss name {name!r}: its class would be {class_name}, as that of the loss {other.name!r}: "
                "take another name"
            )
    title = " ".join(words).strip()
    title = title[:1].upper() + title[1:]
    with open(path, "x") as file:
        file.write(_TEMPLATE.substitute(name=name, class_name=class_name, title=title))
    return path


def what_to_do(path: Path) -> str:
    """What to do with a file of :func:`new_loss`, in three lines."""
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    source = "" if path.resolve().parent == baselines_folder() else f" --from {quote(str(shown))}"
    compare = f"rspose compare {path.stem}{source}"
    if not Path("config/demo.yaml").is_file():
        there = quote(str(path.resolve()))
        compare = f"rspose compare {path.stem} --from {there}   (in a clone of the project)"
    return (
        f"{shown} written: it already runs. Change it, then\n"
        f"  rspose check-loss {path.stem}{source}\n"
        f"  {compare}"
    )


def still_to_say(source: str) -> list[str]:
    """What the source of a loss still has of the sentences of the template that ask to be replaced."""
    return [each for each in _TO_BE_REPLACED if each in source]
