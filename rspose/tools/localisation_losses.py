"""What every loss of a grid says of heatmaps of known error, as one JSON file."""

from dataclasses import asdict
from pathlib import Path

from rspose.grid.config import GridConfig
from rspose.grid.files import write_json
from rspose.grid.fingerprints import sha256_of, sha256_of_sources, sources, sources_of_settings
from rspose.losses import build
from rspose.tools.localisation import LARGEST_ERROR, along_paths


def losses_and_heads(config: GridConfig) -> list[tuple[str, str]]:
    """Every loss of the grid with every head it is trained on, in the order of the config."""
    return sorted(
        {(cell.loss, cell.head) for cell in config.cells()},
        key=lambda pair: (config.heads.index(pair[1]), config.losses.index(pair[0])),
    )


def write_localisation(config: GridConfig, out: Path) -> None:
    """Follow the paths of :mod:`rspose.tools.localisation` with every loss of a grid.

    Args:
        config: The config of the grid.
        out: Where the JSON file goes.
    """
    followed = []
    for name, head in losses_and_heads(config):
        settings = config.loss_of(name, head)
        loss = build(settings.loss, settings.parameters, num_keypoints=1)
        paths = along_paths(loss, head)
        followed.append(
            {
                "loss": name,
                "title": settings.title,
                "reconstruction": loss.reconstruction,
                "head": head,
                "paths": {
                    path: {**asdict(found), "tolerated_error": found.tolerated_error}
                    for path, found in paths.items()
                },
            }
        )
    write_json(out, {"largest_error": LARGEST_ERROR, "losses": followed})


def localisation_fingerprint(config: GridConfig) -> str:
    """Changes when a loss of the grid, its settings, or the maps it is shown change."""
    pairs = losses_and_heads(config)
    settings = [config.loss_of(loss, head) for loss, head in pairs]
    # Nothing is trained: the learning rate does not matter.
    plain = [(each.loss, each.title, each.parameters) for each in settings]
    files = {file for each in settings for file in sources_of_settings(each)}
    return sha256_of([pairs, plain, sha256_of_sources(files | sources("rspose.tools.localisation_losses"))])
