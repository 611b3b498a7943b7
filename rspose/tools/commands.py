"""How a command is declared beside the function that runs it: its words, an example, its arguments."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_Argument = tuple[str, dict[str, Any]]
Run = Callable[..., int | None]

COMMANDS: dict[str, tuple[Run, str, tuple[_Argument, ...]]] = {}
"""Of each command by its words: what runs it, an example of what follows the words, its arguments."""


def parser(groups: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser of all commands; ``groups`` says what the first words of those with two are about."""
    root = argparse.ArgumentParser(
        prog="rspose", description="Compare heatmap losses for human-pose estimation."
    )
    within = {"": root.add_subparsers(required=True, metavar="COMMAND")}
    for words, (run, example, arguments) in COMMANDS.items():
        group, _, name = words.rpartition(" ")
        if group not in within:
            those = [(each, one) for each, (_, one, _) in COMMANDS.items() if each.startswith(f"{group} ")]
            named = within[""].add_parser(
                group,
                help=groups[group],
                description=f"{groups[group][0].upper()}{groups[group][1:]}.",
                epilog="\n  ".join(["examples:", *(f"rspose {each} {one}" for each, one in those)]),
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            within[group] = named.add_subparsers(required=True, metavar="COMMAND")
        line = (run.__doc__ or "").rstrip(".")
        command = within[group].add_parser(
            name,
            help=line[0].lower() + line[1:],
            description=run.__doc__,
            epilog=f"example: rspose {words} {example}",
        )
        for argument, settings in arguments:
            command.add_argument(argument, **settings)
        command.set_defaults(run=run)
    return root


def command(words: str, example: str, *arguments: _Argument) -> Callable[[Run], Run]:
    """Make a function a command: its docstring is the help, its parameters are the ``arguments``."""

    def register(run: Run) -> Run:
        COMMANDS[words] = run, example, arguments
        return run

    return register


def argument(name: str, help: str, **settings: Any) -> _Argument:
    """An argument of a command; its help ends with the default, if it has one."""
    if (default := settings.get("default")) is not None and "(default:" not in help:
        help += f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"
    return name, {**settings, "help": help}


def path(name: str, help: str, **settings: Any) -> _Argument:
    """An argument that is a file or folder."""
    return argument(name, help, type=Path, **settings)


def count(name: str, help: str, **settings: Any) -> _Argument:
    """An argument that is a number of at least 1."""
    return argument(name, help, type=_positive, **{"metavar": "N", **settings})


def points(name: str, help: str, **settings: Any) -> _Argument:
    """An argument that is a number of percentage points, from 0 to 100."""
    return argument(name, help, type=_points, **{"metavar": "POINTS", **settings})


def flag(name: str, help: str) -> _Argument:
    """An argument that is there or not."""
    return name, {"action": "store_true", "help": help}


def dataset_name(name: str, **settings: Any) -> _Argument:
    """An argument that is the name of a dataset."""
    return argument(name, "its name, such as coco", type=_dataset, **settings)


def _dataset(name: str) -> str:
    from rspose.datasets import DATASETS  # not above: a loss is checked where torch alone is

    if name not in DATASETS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(sorted(DATASETS))}, found {name!r}")
    return name


def _points(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected percentage points from 0 to 100, found {text}")
    return number


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text}")
    return number
