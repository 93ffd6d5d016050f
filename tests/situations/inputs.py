"""Files, addresses and lists that are given to predict and to --from of fetch."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

from tests.model.colours import drawn, predictor
from tests.situations.archives import fetched, zipped
from tests.situations.situation import Outcome, Read, Section, Situation

from tlcli.errors import TlcliError
from tlcli.model.predictor import Predictor
from tlcli.workflows.predict import listed_images, predict


@dataclass(frozen=True)
class Answers:
    """What predict says of each image: its class, or the code of its error."""

    answers: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"`{answer}`" for answer in self.answers)


class _Site(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server that has the files of a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Site, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with patch.dict(os.environ, {"no_proxy": "127.0.0.1"}):
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _predicted(inputs: Callable[[Path, str], list[str]], folder: Path) -> Outcome:
    for name in ("red", "green", "blue"):
        drawn(folder / "site" / f"{name}.png", name)
    (folder / "site" / "page.png").write_text("Please sign in")
    (folder / "site" / "more").mkdir()
    with (folder / "site" / "more" / "large.jpg").open("wb") as file:
        file.truncate(65 << 20)
    with patch.object(Predictor, "load", lambda *_: predictor()), served(folder / "site") as site:
        try:
            found = predict(folder, inputs(folder / "site", site))
        except TlcliError as error:
            return Outcome(error.code, (error.message, error.hint))
    answers = [one.error_code or str(one.label) for one in found.predictions]
    return Outcome(Answers(tuple(answers)), tuple(one.error or "" for one in found.predictions))


def _predict(
    brings: str, inputs: Callable[[Path, str], list[str]], expected: str | tuple[str, ...], note: str = ""
) -> Situation:
    wanted = expected if isinstance(expected, str) else Answers(expected)
    return Situation(brings, lambda _: {}, wanted, note, lambda _, folder: _predicted(inputs, folder))


def _from(brings: str, make: Callable[[Path], Section], expected: Read | str, note: str = "") -> Situation:
    return Situation(f"`fetch --from {brings}`", make, expected, note, fetched)


def _from_config(brings: str, section: Section, expected: str = "config.address_as_path") -> Situation:
    return Situation(brings, lambda _: section, expected, find=fetched)


def _file_address(folder: Path) -> Section:
    (folder / "my pets.zip").write_bytes(zipped(*(f"{label}/{n}.png" for label in ("cat", "dog") for n in range(6))))
    return {"from": (folder / "my pets.zip").as_uri()}


INPUTS = [
    _predict("`predict red.png`", lambda site, _: [f"{site}/red.png"], ("red",)),
    _predict("`predict FOLDER`", lambda site, _: [f"{site}"], ("blue", "green", "image.unknown_format", "red", "image.file_too_large")),
    _predict("`predict '*.png'` in quotes", lambda site, _: [f"{site}/*e*n.png"], ("green",)),
    _predict("`predict gone.png`", lambda site, _: [f"{site}/gone.png"], ("image.unreadable",)),
    _predict("`predict file:///.../red.png`", lambda site, _: [(site / "red.png").as_uri()], ("red",)),
    _predict("`predict https://.../red.png .../blue.png`", lambda _, site: [f"{site}/red.png?token=1", f"{site}/blue.png"], ("red", "blue")),
    _predict("an address without a file", lambda _, site: [f"{site}/gone.png", f"{site}/red.png"], ("network.not_found", "red")),
    _predict("an address that gives a text", lambda _, site: [f"{site}/page.png"], ("image.unknown_format",)),
    _predict("an address that gives more than `image.max_file_mb`", lambda _, site: [f"{site}/more/large.jpg"], ("data.download_too_large",)),
    _predict("`predict s3://bucket/cat.png`", lambda *_: ["s3://bucket/cat.png"], "usage.address_unsupported", "the hint has a command that copies it"),
    _predict("`ls *.png | tlcli predict -`", lambda site, _: listed_images(f"{site}/red.png\n{site}/blue.png\n".encode()), ("red", "blue")),
    _predict("a list with line ends of Windows, and empty lines", lambda site, _: listed_images(f"{site}/red.png\r\n\r\n{site}/blue.png".encode()), ("red", "blue")),
    _predict("`find -print0 | tlcli predict -`", lambda site, _: listed_images(f"{site}/red.png\0{site}/blue.png\0".encode()), ("red", "blue")),
    _predict("`tlcli predict - < red.png`", lambda site, _: listed_images((site / "red.png").read_bytes()), "usage.image_on_stdin"),
    _predict("`tlcli predict - < /dev/null`", lambda *_: listed_images(b""), "usage.empty_list"),
    _from("file:///.../my%20pets.zip", _file_address, Read({"cat": 6, "dog": 6})),
    _from("s3://bucket/pets.zip", lambda _: {"from": "s3://bucket/pets.zip"}, "usage.address_unsupported", "the hint has a command that copies it"),
    _from("gs://bucket/pets.zip", lambda _: {"from": "gs://bucket/pets.zip"}, "usage.address_unsupported", "likewise"),
    _from("ftp://host/pets.zip", lambda _: {"from": "ftp://host/pets.zip"}, "usage.address_unsupported"),
    _from("-", lambda _: {"from": "-"}, "usage.from_invalid"),
    _from_config("`path: s3://bucket/pets`", {"path": "s3://bucket/pets"}, "usage.read_in_place"),
    _from_config("`archive: s3://bucket/pets.zip` as a source", {"sources": [{"archive": "s3://bucket/pets.zip"}]}),
    _from("https://host", lambda _: {"from": "https://host"}, "usage.from_invalid"),
    _from("https://host/pets.zip --offline", lambda _: {"from": "https://host/pets.zip"}, "network.offline"),
]  # fmt: skip
