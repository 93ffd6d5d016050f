"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image_fixtures import encode, png, put  # noqa: F401 - fixtures

from tlcli.system.cache.fallback import remove_fallback
from tlcli.system.cache.locks import release_all

SHARED = Path(__file__).parents[2] / "shared" / "datasets"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that with several processes none of them is left for the end."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or fills the user's cache, or holds what another made."""
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    yield
    release_all()
    remove_fallback()


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the slow tests that run the real command line, so that a backbone is converted once."""
    before = os.environ.get("TLCLI_CACHE")
    yield tmp_path_factory.mktemp("cache")
    assert os.environ.get("TLCLI_CACHE") == before


def shared_dataset(name: str) -> Path:
    """A data set that lies beside the repository on machines that test with real images; else the test skips."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{name} is not there (looked in ../shared/datasets)")
    return path


@pytest.fixture(scope="session")
def alien_predator_zip() -> Path:
    """Alien vs. Predator in the layout published on Kaggle."""
    return shared_dataset("alien-vs-predator-images.zip")


@pytest.fixture(scope="session")
def imagenet_zip() -> Path:
    """100 ImageNet images, named by the index of their class."""
    return shared_dataset("imagenet-100.zip")
