"""mmpose's own numbers of its configs, read from the metadata of the installed package.

``results/published/mmpose.csv`` says which config of mmpose is the baseline of which cell here; the numbers
beside it are filled in from the package. To claim another, add a line with the cell and the config, and run
``rspose docs published``.
"""

import csv
import io
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from rspose.datasets import dataset

PAGE = Path(__file__).parents[2] / "results" / "published" / "mmpose.csv"

_CELL = ("dataset", "model", "head", "loss", "config")
_METRICS = {
    "AP": "AP",
    "AP@0.5": "AP50",
    "AP@0.75": "AP75",
    "AR": "AR",
    "AR@0.5": "AR50",
    # CrowdPose has easy, medium and hard images; RTMPose's metadata calls the hard ones (L).
    "AP (E)": "APE",
    "AP (M)": "APM",
    "AP (H)": "APH",
    "AP (L)": "APH",
    "Mean": "PCKh",
    "Mean@0.1": "PCKh@0.1",
    "Whole AP": "AP",
    "Whole AR": "AR",
    **{
        f"{part} {kind}": f"{kind}_{part.lower()}"
        for part in ("Body", "Foot", "Face", "Hand")
        for kind in ("AP", "AR")
    },
}


def page(path: Path | None = None) -> str:
    """The contents of ``mmpose.csv`` as the installed mmpose has it, for the cells that the file names.

    Raises:
        ValueError: If mmpose is not installed, or has no number for a config that the file names.
    """
    path = path or PAGE
    spec = find_spec("mmpose")
    if spec is None or spec.origin is None:
        raise ValueError("mmpose is not installed: its metadata is read from the package")
    configs = Path(spec.origin).parent / ".mim" / "configs"
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    for line in {tuple(line[key] for key in _CELL): line for line in lines}.values():
        metadata, model = _model(configs, line["config"])
        title = dataset(line["dataset"]).title
        metrics = next((each["Metrics"] for each in model["Results"] if each["Dataset"] == title), None)
        if metrics is None:
            raise ValueError(f"{path}: {line['config']}: mmpose has no number of it on {line['dataset']}")
        table = metadata.relative_to(configs).as_posix()
        line |= {"source": f"mmpose {version('mmpose')}", "table": table, "row": model["Name"]}
        for name, value in metrics.items():
            writer.writerow({**line, "metric": _METRICS[name], "value": f"{value:.3f}"})
    return text.getvalue()


def _model(configs: Path, config: str) -> tuple[Path, dict[str, Any]]:
    """The metadata file that knows a config, and what it says of it."""
    for metadata in sorted((configs / config).parent.glob("*.yml")):
        for model in yaml.safe_load(metadata.read_text(encoding="utf-8"))["Models"]:
            if model["Config"] == f"configs/{config}":
                return metadata, model
    raise ValueError(f"{config}: not in the metadata of mmpose {version('mmpose')}; is the path right?")
