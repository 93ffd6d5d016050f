"""A stand-in for Kaggle on this machine: the parts of its API that the real client uses, and its storage.

The client is pointed at ``http://localhost`` by its own setting (KAGGLE_API_ENVIRONMENT=LOCALHOST), and reaches this
server on any free port as its proxy, so that no fixed port is needed. Files come, as from Kaggle, by a redirect to
another host with a signature in the address.
"""

import base64
import hashlib
import json
import mimetypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

TOKEN = "KGAT_0123456789abcdef0123456789abcdef"
KEY = "aaaabbbbccccddddeeeeffff00001111"
REFRESH = "refresh-0123456789abcdef"
SIGNATURE = "5ec2e7519a7e"


Answer = tuple[int, dict[str, str], str]
"""Status, headers and body."""


@dataclass
class Dataset:
    """A data set on Kaggle."""

    versions: dict[int, Path]
    files: dict[str, Path] = field(default_factory=dict)
    private: bool = False
    licence: str = "CC-BY-SA-4.0"


@dataclass
class Competition:
    """A competition; its data needs the rules accepted."""

    archive: Path
    files: dict[str, Path] = field(default_factory=dict)
    rules_accepted: bool = True


@dataclass
class Kaggle:
    """What is there, how it misbehaves, and what was asked."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    competitions: dict[str, Competition] = field(default_factory=dict)
    errors: dict[str, Answer] = field(default_factory=dict)
    """What a method (DownloadDataset, Storage) answers instead of what it would."""
    errors_once: dict[str, Answer] = field(default_factory=dict)
    """As errors, and only to the next request."""
    silent: set[str] = field(default_factory=set)
    """Methods that never answer."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Whether those need not wait any longer."""
    hidden: bool = False
    """Whether nobody is told that something does not exist: 403 instead of 404."""
    cut: list[int] = field(default_factory=list)
    """After how many bytes the next downloads break off."""
    asked: list[str] = field(default_factory=list)
    """Method of each request, with the first byte asked for of files: Storage:0."""
    authorizations: list[tuple[str, str]] = field(default_factory=list)
    """What each request had as Authorization, by method."""
    port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What points Kaggle's client here."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": proxy,
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def serving(kaggle: Kaggle) -> Iterator[Kaggle]:
    """Runs the server while the body runs."""
    handler = type("Handler", (_Handler,), {"kaggle": kaggle})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    kaggle.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield kaggle
    finally:
        kaggle.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """An API call: ``/api/v1/SERVICE/METHOD`` with the request as JSON."""
        length = int(self.headers.get("Content-Length", 0))
        request = json.loads(self.rfile.read(length) or b"{}")
        method = urlsplit(self.path).path.rpartition("/")[2]
        self.note(method)
        if self.misbehaves(method):
            return
        if (user := self.user()) is None:
            self.error(401, "Unauthenticated")
        else:
            getattr(self, re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower())(request, user)

    def do_GET(self) -> None:
        """A file of the storage, to whom has the signature."""
        split = urlsplit(self.path)
        path = Path(parse_qs(split.query).get("path", [""])[0])
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(found[1]) if found else 0
        self.note("Storage")
        self.kaggle.asked[-1] += f":{first}"
        if self.misbehaves("Storage"):
            return
        if parse_qs(split.query).get("X-Goog-Signature") != [SIGNATURE]:
            self.send(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
        else:
            self.give(path, first)

    def misbehaves(self, method: str) -> bool:
        """Whether the test wants another answer than the true one, and has got it."""
        if method in self.kaggle.silent:
            self.kaggle.ended.wait()
            self.close_connection = True
            return True
        answer = self.kaggle.errors_once.pop(method, None) or self.kaggle.errors.get(method)
        if answer is not None:
            status, headers, body = answer
            self.send(status, body.encode(), headers)
        return answer is not None

    def give(self, path: Path, first: int) -> None:
        """The file, or the rest of it."""
        data = path.read_bytes()
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        part = first > 0 and self.headers.get("If-Range", etag) == etag
        headers = {
            "ETag": etag,
            "x-goog-hash": f"crc32c=AAAAAA==,md5={base64.b64encode(hashlib.md5(data).digest()).decode()}",
            "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            "Accept-Ranges": "bytes",
        }
        if part:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        body = data[first:] if part else data
        cut = self.kaggle.cut.pop(0) if self.kaggle.cut else len(body)
        self.send(206 if part else 200, body, headers, cut)

    def user(self) -> str | None:
        """Who asks: "" for nobody, None for somebody with a token that is not valid."""
        given = self.headers.get("Authorization", "")
        basic = base64.b64encode(f"someone:{KEY}".encode()).decode()
        return "" if not given else "someone" if given in (f"Bearer {TOKEN}", f"Basic {basic}") else None

    def get_dataset(self, request: dict[str, Any], user: str) -> None:
        """What there is to know of a data set."""
        if (dataset := self.dataset(request, user)) is not None:
            slug = f"{request['ownerSlug']}/{request['datasetSlug']}"
            newest = max(dataset.versions)
            self.json({"ref": slug, "currentVersionNumber": newest, "licenseName": dataset.licence, "totalBytes": 1})

    def download_dataset(self, request: dict[str, Any], user: str) -> None:
        """Where its archive is, or that of one of its files."""
        dataset = self.dataset(request, user)
        if dataset is None:
            return
        version = request.get("datasetVersionNumber") or max(dataset.versions)
        name = request.get("fileName")
        path = dataset.files.get(name) if name else dataset.versions.get(version)
        self.redirect(path)

    def get_dataset_metadata(self, request: dict[str, Any], user: str) -> None:
        """What the kaggle command asks before a download."""
        if (dataset := self.dataset(request, user)) is not None:
            self.json({"info": {"licenses": [{"name": dataset.licence}]}})

    def download_data_files(self, request: dict[str, Any], user: str) -> None:
        """All data of a competition."""
        if (competition := self.competition(request, user)) is not None:
            self.redirect(competition.archive)

    def download_data_file(self, request: dict[str, Any], user: str) -> None:
        """A file of a competition."""
        if (competition := self.competition(request, user)) is not None:
            self.redirect(competition.files.get(request["fileName"]))

    def introspect_token(self, request: dict[str, Any], user: str) -> None:
        """What the kaggle command asks first."""
        self.json({"active": request.get("token") == TOKEN, "username": "someone"})

    def generate_access_token(self, request: dict[str, Any], user: str) -> None:
        """A new token for somebody who is signed in."""
        if request.get("refreshToken") == REFRESH:
            self.json({"token": TOKEN, "expiresIn": 43200})
        else:
            self.error(400, "Invalid refresh token")

    def dataset(self, request: dict[str, Any], user: str) -> Dataset | None:
        """The data set asked for, or None after the error has been answered."""
        found = self.kaggle.datasets.get(f"{request['ownerSlug']}/{request['datasetSlug']}")
        if found is None and not self.kaggle.hidden:
            self.error(404, "Not found")
        elif found is None or (found.private and not user):
            self.error(403, "Permission 'datasets.get' was denied")
        else:
            return found
        return None

    def competition(self, request: dict[str, Any], user: str) -> Competition | None:
        """The competition asked for, or None after the error has been answered."""
        found = self.kaggle.competitions.get(request["competitionName"])
        if not user:
            self.error(401, "Unauthenticated")
        elif found is None:
            self.error(404, "Not found")
        elif not found.rules_accepted:
            self.error(403, "You must accept this competition's rules before you'll be able to download files.")
        else:
            return found
        return None

    def redirect(self, path: Path | None) -> None:
        """To the storage, on another host."""
        if path is None:
            self.error(404, "Not found")
            return
        query = f"path={quote(str(path))}&X-Goog-Signature={SIGNATURE}"
        self.send(302, b"", {"Location": f"http://127.0.0.1:{self.kaggle.port}/storage/{path.name}?{query}"})

    def error(self, status: int, message: str) -> None:
        """As Kaggle tells errors."""
        self.send(
            status, json.dumps({"code": status, "message": message}).encode(), {"Content-Type": "application/json"}
        )

    def json(self, value: Any) -> None:
        """A message."""
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        """An answer; its body breaks off at ``cut``."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def note(self, method: str) -> None:
        """Remembers who asked for what."""
        self.kaggle.asked.append(method)
        self.kaggle.authorizations.append((method, self.headers.get("Authorization", "")))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing: tests look at what arrives."""
