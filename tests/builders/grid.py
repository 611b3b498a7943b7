"""A grid small enough for tests: generated datasets of a few images, and a model that trains in seconds."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
TRAIN_IMAGES, VAL_IMAGES = 12, 6
IMAGE_SIZE = (160, 120)

_BODY = "body_2d_keypoint"
_GENERATE = {"train_images": TRAIN_IMAGES, "val_images": VAL_IMAGES, "image_size": list(IMAGE_SIZE)}
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "results": "results",
    "datasets": ["coco", "mpii"],
    "models": ["tiny"],
    "heads": ["heatmap", "simcc"],
    "losses": ["mse", "rspose"],
    "seeds": [0],
    "data": {
        dataset: {"root": f"data/{dataset}", "generate": {**_GENERATE, "seed": seed}}
        for seed, dataset in enumerate(("coco", "crowdpose", "mpii", "wholebody"))
    },
    "model_settings": {
        "tiny": {
            "base": {
                "heatmap": f"{_BODY}/topdown_heatmap/coco/td-hm_res50_dark-8xb64-210e_coco-256x192.py",
                "simcc": f"{_BODY}/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py",
            },
            "input_size": {
                "coco": [64, 96],
                "crowdpose": [64, 96],
                "mpii": [64, 64],
                "wholebody": [64, 96],
            },
            "sigma": {"heatmap": 1.5, "simcc": 4.0},
            "stride": 4,
            "overrides": {
                "model": {
                    "backbone": {
                        "_delete_": True,
                        "type": "ResNet",
                        "depth": 18,
                        "base_channels": 8,
                        "stem_channels": 8,
                        "out_indices": [0, 1, 2, 3],
                    },
                    "neck": {
                        "type": "FinestFPN",
                        "in_channels": [8, 16, 32, 64],
                        "out_channels": 16,
                        "num_outs": 4,
                        "norm_cfg": {"type": "BN"},
                        "act_cfg": {"type": "ReLU"},
                    },
                    "head": {"in_channels": 16, "deconv_out_channels": None},
                }
            },
            "head_overrides": {"heatmap": {"codec": {"blur_kernel_size": 7}}},
        }
    },
    "training": {
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.001,
        "schedule": "cosine",
        "warmup_iterations": 2,
    },
    "evaluation": {"drawn_samples": 2},
}


def put(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set one key of a config, named by its path, ``"training/epochs"``."""
    *parents, key = path.split("/")
    for parent in parents:
        settings = settings.setdefault(parent, {})
    settings[key] = value


def jobs_of(output: str) -> dict[str, int]:
    """How many jobs of each rule snakemake says there are to run."""
    stats = re.search(r"^Job stats:\n.*?\ntotal +\d+$", output, re.MULTILINE | re.DOTALL)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", stats.group(), re.MULTILINE)) if stats else {}
    return {rule: int(count) for rule, count in counts.items() if rule != "total"}


class SnakemakeRun:
    """A snakemake command that has ended.

    Args:
        folder: Where to run it; paths of the config are relative to it.
        config_file: The config.
        arguments: What comes after that on the command line.
    """

    def __init__(self, folder: Path, config_file: Path, arguments: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        finished = subprocess.run(
            [*command, "--configfile", str(config_file), "--cores", "2", *arguments],
            cwd=folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.returncode, self.output = finished.returncode, finished.stdout

    @property
    def jobs(self) -> dict[str, int]:
        """How many jobs of each rule there were to run."""
        assert self.returncode == 0, self.output
        if "Job stats:" not in self.output:
            assert "Nothing to be done" in self.output, self.output
        return {rule: count for rule, count in jobs_of(self.output).items() if rule != "all"}
