"""Checksums of large files, read once: one whose size and time of change are the same is not read again."""

import json
from pathlib import Path

from rspose.datasets.manifest import file_digest
from rspose.grid.files import write_json


class Digests:
    """SHA-256 of files, by what they hold and not by when they were written.

    Args:
        memory: JSON file that keeps size, time of change in ns and checksum of each path.
    """

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        try:
            known = json.loads(memory.read_text())
        except (OSError, ValueError):  # none yet, or damaged: then files are read again
            known = {}
        self._known: dict[str, list[int | str]] = known if isinstance(known, dict) else {}

    def of(self, file: Path) -> str | None:
        """SHA-256 of a file, None if there is none."""
        if not file.is_file():
            return None
        status = file.stat()
        key, state = str(file.resolve()), [status.st_size, status.st_mtime_ns]
        remembered = self._known.get(key)
        if not isinstance(remembered, list) or remembered[:2] != state or len(remembered) != 3:
            self._known[key] = remembered = [*state, file_digest(file)]
            write_json(self.memory, self._known)
        return str(remembered[2])
