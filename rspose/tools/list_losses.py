"""Every loss in a table: `rspose list losses`, and the same in docs/losses.md."""

from rspose.losses.interface import HeatmapLoss
from rspose.losses.registry import available, parameters
from rspose.tools.docstrings import prose


def loss_table() -> str:
    """A Markdown table with a row a loss."""
    rows = [_row(loss) for loss in available().values()]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page() -> str:
    """The losses of the project, in a table and one by one."""
    return "\n".join([loss_table(), *map(_section, available().values())])


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
