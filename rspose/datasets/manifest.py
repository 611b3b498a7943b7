"""The manifest of a generated dataset: what it was made from, and checksums of what was made."""

import hashlib
import json
from pathlib import Path
from typing import Any

from rspose.datasets.registry import dataset

MANIFEST = "manifest.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, sorted by name."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        digest.update(file.name.encode() + b"\0" + file_digest(file).encode())
    return digest.hexdigest()


def dataset_digests(root: Path, name: str) -> dict[str, str]:
    """Checksums of a dataset's files: one for each annotation file, one for each folder of images."""
    known = dataset(name)
    digests = {path: file_digest(root / path) for path in known.files}
    return digests | {folder: folder_digest(root / folder) for folder in known.image_folders}


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of the dataset at ``root``; None where there is none, as with a real dataset."""
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: expected JSON, found {error}; delete the folder and make the dataset again"
        ) from error
    if not isinstance(manifest, dict) or not manifest.get("generated"):
        raise ValueError(f"{path}: expected the manifest of a generated dataset; found something else")
    return manifest
