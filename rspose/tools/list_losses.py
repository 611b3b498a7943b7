"""Every loss in a table: `rspose list losses`, and docs/losses.md, which is made from the same."""

from rspose.losses.interface import HeatmapLoss
from rspose.losses.registry import available, parameters
from rspose.tools.docstrings import prose

_INTRODUCTION = """# The losses

<!-- Made by `make docs` from the loss files: edit them. -->

`rspose list losses` prints this table, with the losses that you have added. A loss is named by its *name* in
configs and records; its *parameters*, here with their defaults, can be set under `loss_settings` in a config.
A *reconstruction* fills in details that the publication leaves open: the docstring says which. *Heads*: 2D is
`heatmap`, 1D is `simcc`. How to add one: [add-a-loss.md](add-a-loss.md); how to use one without the
benchmark: [in mmpose](mmpose.md) (*type in mmpose*), [in PyTorch](pytorch.md).

"""

_PICTURES = """
Each picture is of one axis of a 1D head, with a peak of the label's width. To the left: the value of the
loss as the peak moves away from the keypoint. To the right: the label (grey), a peak that is 1.5 standard
deviations off (dashed), and what a step down the gradient adds to the raw output, its largest value set to
1. Values and steps of different losses cannot be compared: the raw output has another unit. A loss that
compares keypoints with each other is shown with a second one, at its place and less confident.
"""


def loss_table() -> str:
    """A Markdown table with a row a loss."""
    rows = [_row(loss) for loss in available().values()]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page() -> str:
    """The page docs/losses.md: the losses of the project."""
    return "\n".join([_INTRODUCTION + loss_table() + _PICTURES, *map(_section, available().values())])


def _section(loss: type[HeatmapLoss]) -> str:
    mark = " †" if loss.reconstruction else ""
    picture = f"![{loss.title}: value and gradient](figures/losses/{loss.name}.svg)"
    return "\n\n".join([f"## {loss.title}{mark}", picture, *prose(loss)]) + "\n"


def _row(loss: type[HeatmapLoss]) -> dict[str, str]:
    settings = ", ".join(f"{name}={default!r}" for name, default in parameters(loss.name).items())
    cells = {
        "name": f"`{loss.name}`",
        "title": loss.title,
        "reference": loss.reference,
        "heads": ", ".join({"heatmap": "2D", "simcc": "1D"}[head] for head in loss.heads),
        "parameters": f"`{settings}`" if settings else "",
        "reconstruction": "yes" if loss.reconstruction else "",
        "type in mmpose": f"`Benchmark{loss.__name__}`",  # as rspose.training.map_losses registers it
    }
    return {heading: cell.replace("|", "\\|") for heading, cell in cells.items()}
