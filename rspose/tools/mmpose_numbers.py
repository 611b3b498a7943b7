"""mmpose's own numbers of its configs, read from the metadata of the installed package.

``results/published/mmpose.csv`` says which config of mmpose is the baseline of which cell here; the numbers
beside it are filled in from the package. To claim another, add a line with the cell and the config, and run
``rspose docs published``.
"""

from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rspose.datasets import dataset
from rspose.reporting.published import PUBLISHED

_CELL = ["dataset", "model", "head", "loss", "config"]
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
        ValueError: mmpose has no number for a config that the file names.
    """
    path = path or PUBLISHED / "mmpose.csv"
    configs = Path(str(distribution("mmpose").locate_file("mmpose/.mim/configs")))
    claims = pd.read_csv(path, dtype=str, keep_default_na=False)
    lines = []
    for line in claims.drop_duplicates(_CELL).to_dict("records"):
        metadata, model = _model(configs, line["config"])
        title = dataset(line["dataset"]).title
        metrics = next((each["Metrics"] for each in model["Results"] if each["Dataset"] == title), None)
        if metrics is None:
            raise ValueError(f"{path}: {line['config']}: mmpose has no number of it on {line['dataset']}")
        table = metadata.relative_to(configs).as_posix()
        line |= {"source": f"mmpose {version('mmpose')}", "table": table, "row": model["Name"]}
        numbers = {_METRICS[name]: f"{value:.3f}" for name, value in metrics.items()}
        lines += [{**line, "metric": metric, "value": value} for metric, value in numbers.items()]
    return pd.DataFrame(lines, columns=claims.columns).to_csv(index=False, lineterminator="\n")


def _model(configs: Path, config: str) -> tuple[Path, dict[str, Any]]:
    """The metadata file that knows a config, and what it says of it."""
    for metadata in sorted((configs / config).parent.glob("*.yml")):
        for model in yaml.safe_load(metadata.read_text(encoding="utf-8"))["Models"]:
            if model["Config"] == f"configs/{config}":
                return metadata, model
    raise ValueError(f"{config}: not in the metadata of mmpose {version('mmpose')}; is the path right?")
