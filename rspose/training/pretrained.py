"""Which weights a backbone starts from, where they lie, and what is missing."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, ModelSettings
from rspose.grid.digests import Digests
from rspose.grid.files import replacing
from rspose.grid.fingerprints import sha256_of, sha256_of_modules

# Names that mmengine's configs have for files, and the list in mmengine's package that says where each is.
_LISTS = {"torchvision": "torchvision_0.12.json", "mmcls": "mmcls.json", "open-mmlab": "openmmlab.json"}
_LOADING = "rspose.training.weights"
_PACKAGE = "package://"
_HASHED = re.compile(r"-(?!20\d{6}[._])[0-9a-f]{8}[._]")  # as mmpose and torch name files, a date is none


@dataclass(frozen=True)
class Pretrained:
    """Where weights lie, and where they can be fetched: None if the config names a file or a package."""

    file: Path
    url: str | None
    package: str = ""  # that brings them

    def problem(self) -> str | None:
        """One line that says what is missing and what to do; None if the file is there."""
        if self.file.is_file():
            return None
        source = f"; rspose pretrained CONFIG fetches them from {self.url}" if self.url else ""
        if self.package:
            source = f"; install the package {self.package}"
        without = "pretrained: none in the model's settings starts from random ones"
        return f"{self.file}: expected pretrained weights, found no file{source}; {without}"


def pretrained(config: GridConfig, model: str, head: str) -> Pretrained | None:
    """The weights that the backbone of a model starts from, None for random ones.

    Raises:
        ValueError: If they are named in a way that is not known.
    """
    settings = config.model_settings[model]
    source = settings.pretrained or _of_mmpose(settings, head)
    if source in (None, "none"):
        return None
    if "://" not in source:
        return Pretrained(Path(source), None)
    if source.startswith(_PACKAGE):
        package, _, file = source.removeprefix(_PACKAGE).partition("/")
        found = find_spec(package)  # without running it
        folder = Path(found.origin).parent if found and found.origin else Path(package)
        return Pretrained(folder / file, None, package.replace("_", "-"))
    url = _url(source)
    path = Path(urlparse(url).path)
    if not _HASHED.search(path.name):  # other addresses may end alike: .../pytorch_model.bin
        path = path.with_stem(f"{path.stem}-{sha256(url.encode()).hexdigest()[:8]}")
    return Pretrained(config.pretrained_folder / path.name, url)


def needed_weights(config: GridConfig, some: Iterable[Cell]) -> list[Pretrained]:
    """The weights that the backbones of some cells start from."""
    pairs = dict.fromkeys((cell.model, cell.head) for cell in some)
    return [each for each in dict.fromkeys(pretrained(config, *pair) for pair in pairs) if each is not None]


def missing_weights(config: GridConfig, some: Iterable[Cell]) -> list[Pretrained]:
    """Those of them that are not there."""
    return [each for each in needed_weights(config, some) if each.problem() is not None]


def unfit_weights(config: GridConfig, some: Iterable[Cell], memory: Path) -> str | None:
    """What is wrong with the first file of weights that does not fit its backbone, in one line.

    Each is loaded as a training loads it. ``memory`` is a file that keeps which fit, by what they hold and
    what the model is.
    """
    digests, fit = Digests(memory), memory.with_suffix(".fit")
    known = fit.read_text().split() if fit.is_file() else []
    for cell in {(cell.model, cell.head): cell for cell in some}.values():
        weights = pretrained(config, cell.model, cell.head)
        if weights is None:
            continue
        settings = config.model_settings[cell.model].model_dump(mode="json")
        digest = digests.of(weights.file, str(weights.file))
        key = sha256_of([digest, settings, cell.head, sha256_of_modules(_LOADING)])
        if key in known:
            continue
        from mmpose.registry import MODELS  # with all that trains

        from rspose.training.compose import compose
        from rspose.training.weights import load_safely

        composed = compose(config, cell, Path(), None)
        load_safely()
        try:
            MODELS.build(composed["model"]["backbone"]).init_weights()
        except ValueError as error:
            return str(error)
        known.append(key)
        with replacing(fit) as temporary:
            temporary.write_text("\n".join(known))
    return None


def _of_mmpose(settings: ModelSettings, head: str) -> str | None:
    backbone = settings.overrides.get("model", {}).get("backbone", {})
    if not backbone.get("_delete_"):
        from rspose.training.mmpose_configs import model_config  # reading mmpose's configs takes a second

        backbone = model_config(settings, head)["model"]["backbone"]
    start = backbone.get("init_cfg") or {}
    return start.get("checkpoint") if isinstance(start, dict) else None


def _url(source: str) -> str:
    scheme, name = source.split("://", 1)
    if scheme in ("http", "https"):
        return source
    if scheme not in _LISTS:
        raise ValueError(
            f"pretrained weights {source!r}: expected a file, a URL, or a name that starts with "
            f"{', '.join(f'{known}://' for known in (*_LISTS, 'package'))}"
        )
    import mmengine

    urls = json.loads((Path(mmengine.__file__).parent / "hub" / _LISTS[scheme]).read_text())
    if name not in urls:
        raise ValueError(f"pretrained weights {source!r}: mmengine knows no {scheme} weights of that name")
    return urls[name]
