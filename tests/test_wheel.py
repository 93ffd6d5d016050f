"""The wheel: what it requires without extras, and what its extras bring. It is built here and not installed."""

import email
import os
import re
import subprocess
import sys
import zipfile
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tlcli.system.extras import EXTRAS

ROOT = Path(__file__).parents[1]
BASE = {
    "filelock", "h5py", "kaggle", "kagglesdk", "keras", "numpy", "openvino", "packaging", "pillow", "platformdirs",
    "pydantic", "pyyaml", "requests", "rich", "safetensors", "typer", "urllib3",
}  # fmt: skip
"""All that ``pip install tlcli`` asks for: see docs/install.md for its size."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    built = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", built, folder], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return Path(folder / done.stdout.split()[-1])


@pytest.fixture(scope="module")
def described(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def required(described: Message, extra: str = "") -> set[str]:
    """Names of what the wheel requires with an extra; of those that the extra names itself, too."""
    names = set[str]()
    for one in map(Requirement, described.get_all("Requires-Dist", [])):
        if one.marker and not (extra and one.marker.evaluate({"extra": extra})):
            continue
        if one.name == "tlcli":
            for other in one.extras:
                names |= required(described, other)
        else:
            names.add(one.name)
    return names


def test_it_requires_only_what_predicting_needs(described: Message) -> None:
    assert required(described) == BASE


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_brings_the_packages_that_its_error_names(described: Message, extra: str) -> None:
    of_modules = metadata.packages_distributions()
    bring = {re.sub(r"[-_.]+", "-", name).lower() for name in required(described, extra)}
    for module in EXTRAS[extra]:
        assert {re.sub(r"[-_.]+", "-", name).lower() for name in of_modules.get(module, [module])} & bring, module


@pytest.mark.parametrize("extra", ["demo", "export", "int8", "tune"])
def test_extras_that_train_bring_what_training_needs(described: Message, extra: str) -> None:
    assert {"scipy", "scikit-learn", "tensorflow"} <= required(described, extra)


def test_it_holds_the_configs_and_the_page_but_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"tlcli/configs/solar_cells.yaml", "tlcli/export/check.py", "tlcli/py.typed"} <= set(names)
    assert all(name.startswith(("tlcli/", "tlcli-")) for name in names)
