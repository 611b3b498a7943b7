"""How datasets, heads, metrics and losses are named, ordered and coloured, everywhere the same."""

from collections.abc import Sequence
from zlib import crc32

from rspose.datasets import DATASETS

LOSS_ORDER = ("mse", "kl", "awing", "fowkal", "dm", "rspose")
CONTROL_ORDER = ("oracle", "mean_pose")
HEAD_LABELS = {"heatmap": "2D", "simcc": "1D"}

_STAR = (
    "M0,-1L0.22,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.22,-0.31Z"
)
_CROSSED = "M-0.5,-1L0,-0.5L0.5,-1L1,-0.5L0.5,0L1,0.5L0.5,1L0,0.5L-0.5,1L-1,0.5L-0.5,0L-1,-0.5Z"
# Colours are Okabe and Ito's palette: told apart with any colour vision, and mostly by lightness on a grey
# print. Beside them shapes, by Vega's names or as paths, tell apart what has no colour.
_LOOKS = {
    "mse": ("#000000", "circle"),
    "kl": ("#0072B2", "square"),
    "awing": ("#009E73", "triangle-up"),
    "fowkal": ("#CC79A7", "diamond"),
    "dm": ("#E69F00", "triangle-down"),
    "rspose": ("#D55E00", _STAR),
    "wahr": ("#56B4E9", "cross"),
    "kal": ("#7A5195", _CROSSED),
    "fwahr": ("#8C6D31", "triangle-left"),
    "heuristic": ("#4C6A00", "triangle-right"),
    "oracle": ("#999999", "circle"),
    "mean_pose": ("#CCCCCC", "circle"),
}
_FURTHER_COLOURS = ("#A6761D", "#5F6B6D", "#17A2A2", "#B2182B", "#92C5DE", "#6A51A3")
_HEXAGON = "M1,0L0.5,0.87L-0.5,0.87L-1,0L-0.5,-0.87L0.5,-0.87Z"
_PENTAGON = "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z"
_FURTHER_SHAPES = (
    _PENTAGON,
    _HEXAGON,
    "M0,-1L0.55,0L0,1L-0.55,0Z",
    "M-0.4,-1L0.4,-1L1,-0.4L1,0.4L0.4,1L-0.4,1L-1,0.4L-1,-0.4Z",
)

SIDE_COLOURS = {"left": "#0072B2", "right": "#E69F00", "middle": "#F0F0F0"}
"""Colours of drawn limbs: the person's own left and right, and what joins both sides."""


def loss_colour(loss: str) -> str:
    """The colour of ``loss`` as ``#RRGGBB``: the same in every figure, whichever other losses are drawn."""
    further = _FURTHER_COLOURS[crc32(loss.encode()) % len(_FURTHER_COLOURS)]
    return _LOOKS[loss][0] if loss in _LOOKS else further


def on_dark(colour: str) -> str:
    """``colour`` on a dark ground: the same hue, lighter if it is dark; black becomes nearly white."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    light = (0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]) / 255
    more = 0.9 if not any(parts) else max(0.0, 0.62 - light) * 0.75
    return "#" + "".join(f"{round(part + (255 - part) * more):02X}" for part in parts)


def loss_shape(loss: str) -> str:
    """The marker of ``loss`` as Vega names or draws it, the same in every figure."""
    further = _FURTHER_SHAPES[crc32(loss.encode()) % len(_FURTHER_SHAPES)]
    return _LOOKS[loss][1] if loss in _LOOKS else further


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    """Sort key: the known ones in their order, further ones by name."""
    return known.index(name) if name in known else len(known), name


def loss_order(loss: str, control: bool) -> tuple[bool, int, str]:
    """Sort key of the rows: known losses, further losses by name, known controls, further controls."""
    return control, *_place(loss, CONTROL_ORDER if control else LOSS_ORDER)


def head_order(head: str) -> tuple[int, str]:
    """Sort key of the heads: 2D, 1D, further ones by name."""
    return _place(head, list(HEAD_LABELS))


def head_label(head: str) -> str:
    """How a head is written; one that is unknown here, as it is called."""
    return HEAD_LABELS.get(head, head)


def dataset_title(dataset: str) -> str:
    """How a dataset is written; one that is unknown here, as it is called."""
    return DATASETS[dataset].title if dataset in DATASETS else dataset


def main_metric(dataset: str) -> str:
    """The one metric of a dataset in overviews."""
    return DATASETS[dataset].main_metric if dataset in DATASETS else "AP"


def dataset_order(dataset: str) -> tuple[int, str]:
    """Sort key of the datasets: in the order of their modules, those that are unknown here behind."""
    return _place(dataset, list(DATASETS))


def cell_order(dataset: str, model: str, head: str, loss: str, control: bool = False) -> tuple[object, ...]:
    """Sort key of the cells: by dataset, the controls last, then by model, head and loss."""
    return dataset_order(dataset), control, model, head_order(head), loss_order(loss, control)
