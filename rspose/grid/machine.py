"""The machine that something was measured on."""

import platform
from pathlib import Path


def cpu_name() -> str:
    """The model of the processor as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def proc_bytes(file: str, field: str) -> int:
    """A field of a file below /proc, which counts in units of 1,024 bytes.

    Raises:
        OSError, KeyError: The system has no such file, or no such field in it.
    """
    lines = dict(line.split(":", 1) for line in Path("/proc", file).read_text().splitlines())
    return 1024 * int(lines[field].split()[0])
