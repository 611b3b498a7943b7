"""Fetching: broken, wrong and hostile downloads end in a line, and what was downloaded is gone on with."""

import fcntl
import http.server
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from rspose.cli import main
from rspose.datasets import DATASETS
from rspose.datasets import fetch as fetch_module
from rspose.datasets.fetch import download, fetch, is_there, unpack
from rspose.datasets.interface import Download
from rspose.drawn import make_dataset

CONTENT = os.urandom(3_000_000)
DIGEST = sha256(CONTENT).hexdigest()
PAGE = "https://example.org/dataset"


@dataclass
class Server:
    """Serves bytes by their path, and misbehaves as it is told."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None  # bytes, of every answer
    content_type: str = "application/octet-stream"
    starts: list[int] = field(default_factory=list)  # of the answers, in order
    address: str = ""

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        content = self.files.get(request.path.strip("/"))
        if content is None:
            request.send_error(404)
            return
        asked = request.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        self.starts.append(start)
        if start and start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Type", self.content_type)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start:][: self.cut_after])


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        served.address = f"http://127.0.0.1:{running.server_address[1]}"
        yield served
        running.shutdown()
        thread.join()


@pytest.fixture
def shown() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def get(server: Server, tmp_path: Path, shown: list[tuple[int, int]]) -> Callable[..., Path]:
    """Downloads CONTENT from the server."""
    server.files["data.bin"] = CONTENT

    def run(digest: str | None = DIGEST) -> Path:
        file = tmp_path / "got" / "data.bin"
        download(f"{server.address}/data.bin", file, lambda *each: shown.append(each), digest, PAGE)
        return file

    return run


def partial(tmp_path: Path) -> Path:
    return tmp_path / "got" / "data.bin.partial"


def zip_of(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def test_a_download_is_whole_and_shows_how_far_it_is(
    get: Callable[..., Path], shown: list[tuple[int, int]], tmp_path: Path
) -> None:
    assert get().read_bytes() == CONTENT
    assert shown[-1] == (len(CONTENT), len(CONTENT)) and shown == sorted(shown) and len(shown) > 1
    assert not partial(tmp_path).exists()


def test_an_interrupted_download_keeps_what_it_has_and_goes_on_there(
    get: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    server.cut_after = 1 << 20
    with pytest.raises(OSError, match="broke off after 1,048,576 bytes, which are kept") as problem:
        get()
    assert server.address in str(problem.value) and "\n" not in str(problem.value)
    assert partial(tmp_path).read_bytes() == CONTENT[: 1 << 20]
    server.cut_after = None
    assert get().read_bytes() == CONTENT
    assert server.starts == [0, 1 << 20]


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(
    get: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    partial(tmp_path).parent.mkdir()
    partial(tmp_path).write_bytes(CONTENT[:500])
    server.ranges = False
    assert get().read_bytes() == CONTENT


def test_a_download_that_was_stopped_at_its_last_byte_is_taken_as_it_is(
    get: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    partial(tmp_path).parent.mkdir()
    partial(tmp_path).write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT and server.starts == [len(CONTENT)]
    partial(tmp_path).write_bytes(CONTENT + b"more")
    with pytest.raises(OSError, match=r"data.bin.partial: 3,000,004 bytes, more than .* has; delete it"):
        get()


def test_what_another_process_fetches_is_left_to_it(
    get: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    partial(tmp_path).parent.mkdir()
    with open(partial(tmp_path), "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(CONTENT[:500])
        other.flush()
        with pytest.raises(OSError, match=r"data.bin.partial: another process fetches it; wait for it"):
            get()
    assert partial(tmp_path).read_bytes() == CONTENT[:500] and server.starts == []
    assert get().read_bytes() == CONTENT and server.starts == [500]


def test_another_checksum_is_said_and_the_file_is_kept_aside(
    get: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    server.files["data.bin"] = bytes(10)
    with pytest.raises(OSError, match=rf"expected the SHA-256 {DIGEST[:12]}.*delete it and fetch it again"):
        get()
    assert partial(tmp_path).read_bytes() == bytes(10) and not (tmp_path / "got/data.bin").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"content_type": "text/html; charset=utf-8"}, f"expected a file, found a web page; see {PAGE}"),
        ({"files": {}}, f"expected a file, found HTTP 404 Not Found; see {PAGE}"),
    ],
)
def test_what_is_no_file_leaves_what_was_downloaded_before(
    get: Callable[..., Path], server: Server, tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    partial(tmp_path).parent.mkdir()
    partial(tmp_path).write_bytes(CONTENT[:500])
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(OSError, match=expected):
        get()
    assert partial(tmp_path).read_bytes() == CONTENT[:500]


def test_a_network_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^http://127.0.0.1:9/data.bin: no download \(.*$") as problem:
        download("http://127.0.0.1:9/data.bin", tmp_path / "data.bin", lambda *_: None)
    assert "\n" not in str(problem.value) and list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_keeps_what_is_there(
    get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch_module.os, "fsync", full)
    with pytest.raises(OSError, match=r"data.bin.partial: the disk is full; make room and run it again"):
        get()
    assert partial(tmp_path).read_bytes() == CONTENT


ARCHIVES = {
    "a.zip": zip_of,
    "a.tar": tar_of,
    "a.tar.gz": lambda files: tar_of(files, "w:gz"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_brings_what_is_wanted_from_whatever_folder_in_it(name: str, tmp_path: Path) -> None:
    held = {
        "top/images/1.jpg": b"one",
        "images/2.jpg": b"two",
        "top/drawn/1.jpg": b"no",
        "joints.mat": b"mat",
    }
    (tmp_path / name).write_bytes(ARCHIVES[name](held))
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/images/2.jpg").write_bytes(b"TWO")  # of the same size: it is left as it is
    (tmp_path / "set/images/1.jpg").write_bytes(b"o")  # not whole
    unpack(tmp_path / name, {"images/*.jpg": "set/images", "joints.mat": "set"}, tmp_path)
    (tmp_path / name).unlink()
    found = {str(each.relative_to(tmp_path)): each.read_bytes() for each in tmp_path.rglob("*.*")}
    assert found == {"set/images/1.jpg": b"one", "set/images/2.jpg": b"TWO", "set/joints.mat": b"mat"}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("hostile", ["../../images/1.jpg", "/images/1.jpg"])
def test_a_path_that_leads_out_of_an_archive_is_refused(name: str, hostile: str, tmp_path: Path) -> None:
    root = tmp_path / "a/b/c"
    root.mkdir(parents=True)
    (root / name).write_bytes(ARCHIVES[name]({hostile: b"x"}))
    with pytest.raises(OSError, match=f"{name}: expected plain files, found '{hostile}'"):
        unpack(root / name, {"images/*.jpg": "images"}, root)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [root / name]


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("images/1.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("images/1.jpg")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    for name in ("a.tar", "a.zip"):
        with pytest.raises(OSError, match="leads out of the archive"):
            unpack(tmp_path / name, {"images/*.jpg": "images"}, tmp_path)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_damaged_archive_and_one_without_what_is_wanted_are_a_line(name: str, tmp_path: Path) -> None:
    content = ARCHIVES[name]({"images/1.jpg": os.urandom(50_000)})
    for wrong in (content[:30_000], b"<html>no archive</html>"):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(OSError, match=rf"{name}: expected an archive, found a damaged one.*delete it"):
            unpack(tmp_path / name, {"images/*.jpg": "images"}, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match=rf"{name}: expected images/\*.png in it, found none"):
        unpack(tmp_path / name, {"images/*.png": "images"}, tmp_path)


def test_what_is_there_is_told_from_what_is_still_to_be_unpacked(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = zip_of({"images/1.jpg": b"one"})
    wanted = Download("a.zip", {"images/*.jpg": "images"}, PAGE, f"{server.address}/a.zip")
    assert not is_there(wanted, tmp_path)
    fetch(wanted, tmp_path, lambda *_: None)
    assert is_there(wanted, tmp_path) and not (tmp_path / "a.zip").exists()
    (tmp_path / "a.zip").write_bytes(server.files["a.zip"])  # as when unpacking was interrupted
    assert not is_there(wanted, tmp_path)
    fetch(wanted, tmp_path, lambda *_: None)
    assert is_there(wanted, tmp_path) and server.starts == [0]


@pytest.fixture
def offered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MPII as the server offers it, drawn, in two archives; the root that it is to be fetched into."""
    drawn = tmp_path / "drawn"
    make_dataset("mpii", drawn, 6, 3, 2, (128, 96))
    for name, folder, pack in (
        ("images.tar.gz", "images", ARCHIVES["a.tar.gz"]),
        ("annotations.zip", "annotations", zip_of),
    ):
        server.files[name] = pack(
            {f"top/{folder}/{each.name}": each.read_bytes() for each in (drawn / folder).iterdir()}
        )
    release = replace(
        DATASETS["mpii"].release,
        downloads=(
            Download("images.tar.gz", {"images/*.jpg": "images"}, PAGE, f"{server.address}/images.tar.gz"),
            Download(
                "annotations.zip", {"*.json": "annotations", "*.mat": "annotations"}, PAGE,
                f"{server.address}/annotations.zip", bytes=1_500_000_000,
            ),
        ),
        terms="for research",
    )  # fmt: skip
    monkeypatch.setitem(DATASETS, "mpii", replace(DATASETS["mpii"], release=release))
    return tmp_path / "data" / "mpii"


def test_a_dataset_is_fetched_where_configs_look_for_it_and_checked(
    offered: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSPOSE_DATA", str(offered.parent))
    assert main(["data", "fetch", "mpii", "--yes"]) == 0
    said = capsys.readouterr()
    assert "Terms: for research" in said.out and "1.50 GB  annotations.zip from http" in said.out
    assert f"{offered}: every file of the mpii dataset is there" in said.out
    assert "1/1 MB of images.tar.gz" in said.err
    assert not list(offered.glob("*.*"))
    server.starts.clear()
    assert main(["data", "fetch", "mpii"]) == 0, "nothing is left to ask for"
    assert "there  images.tar.gz" in capsys.readouterr().out and server.starts == []
    next((offered / "annotations").glob("*train*.json")).unlink()
    assert main(["data", "fetch", "mpii", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "there  images.tar.gz" in said and "GB  annotations.zip" in said, "half of it is not all of it"


def test_gigabytes_are_fetched_only_where_somebody_agrees(
    offered: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["data", "fetch", "mpii", "--root", str(offered)]
    assert main(command) == 1
    assert capsys.readouterr().err == "error: 1.5 GB to fetch, and no terminal to ask in; agree with --yes\n"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for reply, status in (("", 1), ("\n", 1), ("n\n", 1), ("y\n", 0)):  # the first: Ctrl-D
        monkeypatch.setattr("sys.stdin.readline", lambda reply=reply: reply, raising=False)
        assert server.starts == []
        assert main(command) == status
    assert server.starts == [0, 0]


def test_too_little_room_is_said_before_anything_is_fetched(
    offered: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    assert main(["data", "fetch", "mpii", "--root", str(offered), "--yes"]) == 1
    assert "expected room for 3.0 GB" in capsys.readouterr().err and server.starts == []


def test_what_has_to_be_fetched_by_hand_is_named_and_unpacked_once_it_is_there(
    offered: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = DATASETS["mpii"]
    images, annotations = known.release.downloads
    by_hand = replace(images, address=None, by_hand="its authors ask for a form")
    release = replace(known.release, downloads=(by_hand, annotations))
    monkeypatch.setitem(DATASETS, "mpii", replace(known, release=release))
    command = ["data", "fetch", "mpii", "--root", str(offered), "--yes"]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert f"Fetch images.tar.gz by hand from {PAGE}: its authors ask for a form." in said
    assert f"Put it at {offered / 'images.tar.gz'}" in said
    assert f"rspose data check {offered} --dataset mpii" in said
    (offered / "images.tar.gz").write_bytes(server.files["images.tar.gz"])
    assert main(command) == 0


def test_a_drawn_dataset_is_not_mixed_with_the_real_one(
    offered: Path, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "fetch", "mpii", "--root", str(tmp_path / "drawn"), "--yes"]) == 1
    assert "a drawn dataset is in this folder" in capsys.readouterr().err and server.starts == []


@pytest.mark.parametrize("name", DATASETS)
def test_every_file_of_a_release_has_an_address_or_a_reason_why_not(name: str) -> None:
    for each in DATASETS[name].release.downloads:
        assert bool(each.address) != bool(each.by_hand), each.file
        assert each.file.endswith(fetch_module.ARCHIVES) or list(each.folders) == [each.file]
        assert each.sha256 is None or (len(each.sha256) == 64 and int(each.sha256, 16))
