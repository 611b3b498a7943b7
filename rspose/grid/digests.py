"""Checksums of large files, read once: one whose size and time of change are the same is not read again."""

import json
from pathlib import Path

from rspose.datasets.manifest import file_digest
from rspose.grid.files import write_json


class Digests:
    """SHA-256 of files, by what they hold and not by when they were written.

    Args:
        memory: JSON file that keeps path, size, time of change in ns and checksum under each name.
    """

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        try:
            known = json.loads(memory.read_text())
        except (OSError, ValueError):  # none yet, or damaged: then files are read again
            known = {}
        self._known: dict[str, list[str | int]] = known if isinstance(known, dict) else {}

    def of(self, file: Path, name: str) -> str | None:
        """SHA-256 of the file that goes by a name wherever it lies.

        Of one that is not there, that of the last time it was, None if it never was: what was made from it
        stays as it is until it is there again.
        """
        remembered = self._known.get(name)
        if not (isinstance(remembered, list) and len(remembered) == 4):
            remembered = None
        if file.is_file():
            status = file.stat()
            state: list[str | int] = [str(file.resolve()), status.st_size, status.st_mtime_ns]
            if remembered is None or remembered[:3] != state:
                self._known[name] = remembered = [*state, file_digest(file)]
                write_json(self.memory, self._known)
        return None if remembered is None else str(remembered[3])
