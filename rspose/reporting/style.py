"""How datasets, heads, metrics and losses are named, ordered and coloured, everywhere the same."""

from zlib import crc32

from rspose.datasets import DATASETS

LOSS_ORDER = ("mse", "kl", "awing", "fowkal", "dm", "rspose")
CONTROL_ORDER = ("oracle", "mean_pose")
HEAD_LABELS = {"heatmap": "2D", "simcc": "1D"}

# Okabe and Ito's palette: told apart with any colour vision, and mostly by lightness on a grey print.
LOSS_COLOURS = {
    "mse": "#000000",
    "kl": "#0072B2",
    "awing": "#009E73",
    "fowkal": "#CC79A7",
    "dm": "#E69F00",
    "rspose": "#D55E00",
    "wahr": "#56B4E9",
    "kal": "#7A5195",
    "fwahr": "#8C6D31",
    "heuristic": "#4C6A00",
    "oracle": "#999999",
    "mean_pose": "#CCCCCC",
}
_FURTHER_COLOURS = ("#A6761D", "#5F6B6D", "#17A2A2", "#B2182B", "#92C5DE", "#6A51A3")

# Beside the colour: what tells lines and points apart where there is none.
LOSS_MARKERS = {
    "mse": "o",
    "kl": "s",
    "awing": "^",
    "fowkal": "D",
    "dm": "v",
    "rspose": "*",
    "wahr": "P",
    "kal": "X",
    "fwahr": "<",
    "heuristic": ">",
}
_FURTHER_MARKERS = ("p", "h", "d", "8")

SIDE_COLOURS = {"left": "#0072B2", "right": "#E69F00", "middle": "#F0F0F0"}
"""Colours of drawn limbs: the person's own left and right, and what joins both sides."""


def loss_colour(loss: str) -> str:
    """The colour of ``loss`` as ``#RRGGBB``: the same in every figure, whichever other losses are drawn."""
    if loss in LOSS_COLOURS:
        return LOSS_COLOURS[loss]
    return _FURTHER_COLOURS[crc32(loss.encode()) % len(_FURTHER_COLOURS)]


def loss_marker(loss: str) -> str:
    """The matplotlib marker of ``loss``, the same in every figure."""
    if loss in LOSS_MARKERS:
        return LOSS_MARKERS[loss]
    return _FURTHER_MARKERS[crc32(loss.encode()) % len(_FURTHER_MARKERS)]


def loss_order(loss: str, control: bool) -> tuple[bool, int, str]:
    """Sort key of the rows: known losses, further losses by name, known controls, further controls."""
    known = CONTROL_ORDER if control else LOSS_ORDER
    return control, known.index(loss) if loss in known else len(known), loss


def head_order(head: str) -> tuple[int, str]:
    """Sort key of the heads: 2D, 1D, further ones by name."""
    known = list(HEAD_LABELS)
    return known.index(head) if head in known else len(known), head


def dataset_title(dataset: str) -> str:
    """How a dataset is written; one that is unknown here, as it is called."""
    return DATASETS[dataset].title if dataset in DATASETS else dataset


def main_metric(dataset: str) -> str:
    """The one metric of a dataset in overviews."""
    return DATASETS[dataset].main_metric if dataset in DATASETS else "AP"


def dataset_order(dataset: str) -> tuple[int, str]:
    """Sort key of the datasets: COCO, CrowdPose, MPII, COCO-WholeBody, further ones by name."""
    known = list(DATASETS)
    return known.index(dataset) if dataset in known else len(known), dataset
