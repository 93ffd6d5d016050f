"""Kills a fetch (kill -9) at random moments of the download and of the unpacking, and lets the next one end it.

python -m tests.datasets.acquire.kills [KILLS] [MEGABYTES] [SEED]    (default: 60 kills, 200 MB)

A third of the kills hit at any moment of the whole command, a third while it downloads (more slowly then), a third
while it unpacks. After each, the data folder must be absent, and the next fetch must end with the very files of a fetch
that was not disturbed. The server counts the bytes that it sends, and keeps no more than 256 KiB on the way, so that
what is sent again was really lost by the killed process.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from PIL import Image

from tlcli.system.files import sha256_file

_ON_THE_WAY = 1 << 18
_BLOCK = 1 << 16
_PAUSE = 0.002
"""Seconds before each block, while a download is to be hit."""
_KINDS = ("any", "downloading", "unpacking")


@dataclass
class Server:
    """One file, with ranges and an ETag."""

    file: Path
    folder: Path
    """Where the client keeps its part."""
    pause: float = 0.0
    """Seconds before each block."""
    asked: list[int] = field(default_factory=list)
    """The first byte that each request asked for."""
    sent: int = 0
    port: int = 0

    def arrived(self) -> int:
        """Bytes that the client has on disk."""
        return sum(path.stat().st_size for path in self.folder.glob(".*.part") if path.exists())


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Runs the server while the body runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = server.file.stat().st_size
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            first = int(found[1]) if found else 0
            server.asked.append(first)
            self.send_response(206 if found else 200)
            self.send_header("ETag", f'"{size}"')
            if found:
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - first))
            self.end_headers()
            try:
                self.give(first)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def give(self, first: int) -> None:
            with server.file.open("rb") as file:
                file.seek(first)
                given = first
                while block := file.read(_BLOCK):
                    sleep(server.pause)
                    waited = monotonic()
                    while given - server.arrived() > _ON_THE_WAY:
                        if monotonic() - waited > 1:  # the client is dead
                            raise ConnectionResetError
                        sleep(0.0005)
                    self.wfile.write(block)
                    server.sent += len(block)
                    given += len(block)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_port
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


@dataclass
class Outcome:
    """What kills showed."""

    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    """How often what was interrupted."""
    again: list[int] = field(default_factory=list)
    """Bytes sent again after each kill."""


def draw(path: Path, megabytes: float) -> None:
    """A zip of images of 1 MB, of two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w") as archive:
        Image.fromarray(pixels).save(Path(folder, "x.jpg"), quality=96)
        image = Path(folder, "x.jpg").read_bytes()
        for number in range(round(megabytes * 1e6 / len(image))):
            data = image[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + image[2:]
            archive.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.jpg", data)


def files_of(folder: Path) -> dict[str, str]:
    """Digest of every file that was fetched, by path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".tlcli-fetch.json")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


class Trials:
    """Fetches in one folder, killed or not."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.target, self.work = folder / "images", folder / ".images.fetch"
        url = f"http://127.0.0.1:{server.port}/images.zip"
        (folder / "c.yaml").write_text(f"dataset: {{path: images, sources: [{{url: '{url}'}}]}}\n")
        self._environment = {**os.environ, "TLCLI_CACHE": str(folder / "cache"), "no_proxy": "127.0.0.1"}

    def start(self, stderr: int | None = None) -> subprocess.Popen[bytes]:
        """A fetch, running."""
        command = [sys.executable, "-m", "tlcli", "fetch", "--config", "c.yaml", "--quiet"]
        return subprocess.Popen(command, cwd=self.folder, env=self._environment, stderr=stderr)

    def clear(self) -> None:
        """As if nothing had been fetched."""
        for path in (self.target, self.work):
            shutil.rmtree(path, ignore_errors=True)
        self.server.sent = 0

    def undisturbed(self) -> tuple[float, float]:
        """Seconds of a whole fetch, and of these those in which it unpacks."""
        self.clear()
        began, unpacking = monotonic(), 0.0
        process = self.start()
        while process.poll() is None:
            unpacking = unpacking or (monotonic() if self._unpacks() else 0.0)
            sleep(0.002)
        assert process.returncode == 0
        return monotonic() - began, monotonic() - unpacking

    def kill(self, kind: str, whole: float, unpacking: float, chance: random.Random) -> str:
        """Starts a fetch and kills it at a random moment of that kind; says in what."""
        self.server.pause = _PAUSE if kind == "downloading" else 0.0
        process = self.start()
        if kind == "downloading":
            slowly = _PAUSE * self.server.file.stat().st_size / _BLOCK
            self._wait_for(process, self._downloads)
            self._wait(process, chance.uniform(0, slowly / 2))
        elif kind == "unpacking":
            self._wait_for(process, self._unpacks)
            self._wait(process, chance.uniform(0, unpacking))
        else:
            self._wait(process, chance.uniform(0, whole))
        process.kill()
        process.wait()
        self.server.pause = 0.0
        return self._moment(process.returncode)

    def _wait_for(self, process: subprocess.Popen[bytes], happens: Callable[[], bool]) -> None:
        while process.poll() is None and not happens():
            sleep(0.002)

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        end = monotonic() + seconds
        while process.poll() is None and monotonic() < end:
            sleep(0.002)

    def _downloads(self) -> bool:
        return any(self.work.glob(".*.part"))

    def _unpacks(self) -> bool:
        return any(self.work.glob("unpacked.*/*/*"))

    def _moment(self, code: int) -> str:
        if code == 0:
            return "it had ended"
        if self.target.exists():
            return "after the data folder had its name"
        if self._unpacks():
            return "unpacking and checking"
        return "downloading" if self._downloads() else "before the download or right after it"


def run(kills: int, megabytes: float, seed: int = 0, folder: Path | None = None) -> Outcome:
    """Kills that often; raises AssertionError where the next fetch does not put all right."""
    chance, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        file = Path(name, "archive.zip")
        draw(file, megabytes)
        work = Path(name, ".images.fetch")
        with serving(Server(file, work)) as server:
            trials = Trials(Path(name), server)
            whole, unpacking = trials.undisturbed()
            expected = files_of(trials.target)
            for number in range(kills):
                trials.clear()
                outcome.moments[trials.kill(_KINDS[number % len(_KINDS)], whole, unpacking, chance)] += 1
                outcome.kills += 1
                assert not trials.target.exists() or files_of(trials.target) == expected
                ended = trials.start()
                assert ended.wait(120) == 0
                assert files_of(trials.target) == expected
                assert not work.exists()
                outcome.again.append(max(0, server.sent - file.stat().st_size))
    return outcome


def main() -> None:
    """Prints what was seen."""
    numbers = [int(text) for text in sys.argv[1:]]
    kills, megabytes, seed = [*numbers, *(60, 200, 0)[len(numbers) :]]
    began = monotonic()
    outcome = run(kills, megabytes, seed)
    print(f"{outcome.kills} kills of a fetch of {megabytes} MB, each followed by one that ended with the right files")
    for moment, count in outcome.moments.most_common():
        print(f"  {count:4} {moment}")
    print(f"sent again after a kill: {max(outcome.again) / 2**20:.2f} MiB at most ({monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
