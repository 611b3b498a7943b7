"""Downloads that go on where they broke off, and archives unpacked into the folders of a dataset."""

import errno
import fcntl
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from rspose.datasets.interface import Download
from rspose.datasets.manifest import file_digest

if TYPE_CHECKING:
    from requests import Response

Progress = Callable[[int, int], None]

ARCHIVES = (".zip", ".tar", ".tar.gz")
_CHUNK = 1 << 16
_SECONDS_WITHOUT_A_BYTE = 60


def is_there(wanted: Download, root: Path, files: Iterable[str] = ()) -> bool:
    """Whether what a download brings is there, and none of it is still to be fetched or unpacked.

    Of ``files``, paths below the root that a dataset needs, all have to be there that the download brings.
    """
    waiting = stored(wanted, root)
    if _partial(waiting).exists() or (wanted.file.endswith(ARCHIVES) and waiting.exists()):
        return False
    brought = {f"{folder}/{PurePosixPath(end).name}" for end, folder in wanted.folders.items()}
    needed = [file for file in files if any(fnmatch(file, pattern) for pattern in brought)]
    return all(any(root.glob(each)) for each in (*brought, *needed))


def stored(wanted: Download, root: Path) -> Path:
    """Where a download is put: an archive into the root, until it is unpacked; else the file's own place."""
    if wanted.file.endswith(ARCHIVES):
        return root / wanted.file
    return root / wanted.folders[wanted.file] / wanted.file


def bytes_on_disk(file: Path) -> int:
    """How much of a file is there, whole or as far as it was downloaded."""
    return _size(file) or _size(_partial(file))


def described(wanted: Download, root: Path) -> str:
    """What a download is, from where and to which folders, in a line."""
    source = wanted.address or f"the link at {wanted.page} ({wanted.by_hand})"
    folders = ", ".join(f"{root / folder}/" for folder in dict.fromkeys(wanted.folders.values()))
    return f"{wanted.file} from {source} -> {folders}"


def fetch(wanted: Download, root: Path, progress: Progress) -> None:
    """Bring what a download has below ``root``: downloaded if it is not there, unpacked if it is an archive.

    An archive that lies in ``root`` already, fetched by hand for instance, is unpacked. Then it is removed.

    Args:
        progress: Called with the bytes that are there and those of the file, as far as the server says.

    Raises:
        OSError: In one line; what was downloaded stays.
    """
    file = stored(wanted, root)
    if not file.exists():
        download(str(wanted.address), file, progress, wanted.sha256, wanted.page)
    if wanted.file.endswith(ARCHIVES):
        unpack(file, wanted.folders, root)
        file.unlink()


def download(
    address: str, file: Path, progress: Progress, sha256: str | None = None, page: str | None = None
) -> None:
    """Download a file, whole or not at all, going on with the ``FILE.partial`` that a broken download left.

    Args:
        sha256: Of the file, where it is known.
        page: Where its authors describe it, to be named where the address has something else.

    Raises:
        OSError: No connection, another answer than the file, fewer bytes than announced, another checksum, no
            room on the disk. In one line; what was downloaded stays.
    """
    import requests  # not above: what is known of datasets needs no network

    partial = _partial(file)
    with _alone(partial) as written:
        start = written.tell()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with requests.get(
                address, headers=headers, stream=True, timeout=_SECONDS_WITHOUT_A_BYTE
            ) as answer:
                if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:  # all is there
                    if answer.headers.get("Content-Range") != f"bytes */{start}":
                        raise OSError(f"{partial}: {start:,} bytes, more than {address} has; delete it")
                else:
                    start, total = _start_and_total(answer, start, page)
                    written.seek(start)
                    written.truncate()
                    for chunk in answer.iter_content(_CHUNK):
                        written.write(chunk)
                        if total is not None:
                            progress(written.tell(), total)
                    written.flush()
                    os.fsync(written.fileno())
        except requests.RequestException as error:
            there = written.tell()
            kept = f"broke off after {there:,} bytes, which are kept; run it again to go on" if there else ""
            reason = " ".join(str(error).split())
            raise OSError(f"{address}: {kept or 'no download'} ({reason})") from None
        if sha256 is not None and (found := file_digest(partial)) != sha256:
            expected = f"expected the SHA-256 {sha256[:12]}..., found {found[:12]}..."
            raise OSError(f"{partial}: {expected}; delete it and fetch it again")
        partial.replace(file)


@contextmanager
def _alone(partial: Path) -> Iterator[IO[bytes]]:
    """A file to go on with that no other process writes to meanwhile; it does not stay empty."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    with _room(partial), open(partial, "ab") as written:
        try:
            fcntl.flock(written, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"{partial}: another process fetches it; wait for it") from None
        except OSError:
            pass  # a file system without locks
        if not partial.exists() or os.fstat(written.fileno()).st_ino != partial.stat().st_ino:
            raise OSError(f"{partial}: another process has just fetched it")
        try:
            yield written
        finally:
            if not written.tell():
                partial.unlink(missing_ok=True)


def _partial(file: Path) -> Path:
    return file.with_name(f"{file.name}.partial")


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _start_and_total(answer: "Response", start: int, page: str | None) -> tuple[int, int | None]:
    """From which byte on an answer has the file, and how many bytes that has: None if it does not say."""
    problem = ""
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        problem = f"HTTP {answer.status_code} {answer.reason}"
    elif answer.headers.get("Content-Type", "").startswith("text/html"):
        problem = "a web page"
    if problem:
        hint = f"; see {page}" if page else ""
        raise OSError(f"{answer.url}: no download: expected a file, found {problem}{hint}")
    if answer.status_code == HTTPStatus.OK:  # a server that does not know of ranges sends all of it again
        start = 0
    elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        found = answer.headers.get("Content-Range")
        raise OSError(f"{answer.url}: no download: expected the bytes from {start} on, found {found}")
    length = answer.headers.get("Content-Length")
    return start, None if length is None else start + int(length)


def unpack(archive: Path, folders: Mapping[str, str], root: Path) -> None:
    """Write the files of an archive where they belong below ``root``, but those that are there in full size.

    Args:
        folders: As those of a :class:`Download`.

    Raises:
        OSError: The archive is damaged or lacks what is wanted, one of its files is a link or has a path that
            leads out of it, or the disk is full. In one line.
    """
    found = dict.fromkeys(folders, 0)
    try:
        for name, size, content in _zip(archive) if archive.suffix == ".zip" else _tar(archive):
            path = PurePosixPath(name)
            end = next((each for each in folders if path.match(each)), None)
            if end is None:
                continue
            if path.is_absolute() or ".." in path.parts or content is None:
                raise OSError(
                    f"{archive}: expected plain files, found {name!r}, which leads out of the archive"
                )
            found[end] += 1
            place = root / folders[end] / path.name
            if not place.is_file() or place.stat().st_size != size:
                _write(content, place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError) as error:
        raise OSError(
            f"{archive}: expected an archive, found a damaged one ({error}); delete it and fetch it again"
        ) from None
    if missing := [end for end, number in found.items() if not number]:
        raise OSError(f"{archive}: expected {', '.join(missing)} in it, found none")


def _write(content: IO[bytes], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(place)
    with _room(place), content, open(partial, "wb") as written:
        shutil.copyfileobj(content, written, _CHUNK)
    partial.replace(place)


_Member = tuple[str, int, IO[bytes] | None]


def _zip(archive: Path) -> Iterator[_Member]:
    """Name, size and content of each file; None in place of the content of a link and the like."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not member.is_dir():
                link = stat.S_ISLNK(member.external_attr >> 16)
                yield member.filename, member.file_size, None if link else opened.open(member)


def _tar(archive: Path) -> Iterator[_Member]:
    """The same of a tar archive, which is read once from its beginning to its end."""
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            if not member.isdir():
                yield member.name, member.size, opened.extractfile(member) if member.isfile() else None


@contextmanager
def _room(place: Path) -> Iterator[None]:
    """Says what to do where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(f"{place}: the disk is full; make room and run it again to go on") from None
