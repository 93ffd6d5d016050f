"""What an installation takes on disk: the wheel with each set of extras, in a virtual environment of its own.

python bench/install_size.py [--extras base serve train]

Builds the wheel, installs it with what constraints.txt pins, and adds up all files, those that pip compiles too, but
those of pip and setuptools, which every environment has. `all` is what make install asks for, but for the tools of
development. Needs a package index; writes bench/results/install_size.json and prints a Markdown table.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import introduce, note, save

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "base": "", "serve": "serve", "train": "train", "all": "backbones,demo,export,int8,serve,tune",
}  # fmt: skip
"""Extras of the wheel by the name of the set."""
_LARGEST = 5
_OF_THE_ENVIRONMENT = {"pip", "setuptools", "pkg_resources", "_distutils_hack"}


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel."""

    extras: str
    mb: float
    packages: int
    largest: tuple[tuple[str, float], ...]
    """Folder in site-packages and MB, the largest first."""


def size_mb(path: Path) -> float:
    """Of a file or of all files of a folder, as they are long, not as they lie on the disk."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
    return sum(one.stat().st_size for one in files) / 1e6


def measured(site: Path, extras: str) -> Installed:
    """What is in a folder of packages; the libraries that wheels carry beside their package count with it."""
    sizes = dict[str, float]()
    for path in site.iterdir():
        name = re.sub(r"(-[^-]*\.dist-info|\.libs)$", "", path.name)
        if name not in _OF_THE_ENVIRONMENT:
            sizes[name] = sizes.get(name, 0) + size_mb(path)
    names = [path.name.partition("-")[0] for path in site.glob("*.dist-info")]
    packages = len(set(names) - _OF_THE_ENVIRONMENT)
    ordered = sorted(sizes.items(), key=lambda pair: -pair[1])[:_LARGEST]
    return Installed(extras, sum(sizes.values()), packages, tuple(ordered))


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, extras: str, folder: Path) -> Path:
    """Makes an environment with the wheel; its folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    wanted = f"{wheel}[{extras}]" if extras else str(wheel)
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *pins, wanted], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    return site


def markdown(found: Iterable[Installed]) -> str:
    """The table."""
    lines = ["| command | MB on disk | packages | the largest, MB |", "| --- | ---: | ---: | --- |"]
    for one in found:
        command = f"pip install 'tlcli[{one.extras}]'" if one.extras else "pip install tlcli"
        largest = ", ".join(f"{package} {mb:,.0f}" for package, mb in one.largest)
        lines.append(f"| `{command}` | {one.mb:,.0f} | {one.packages} | {largest} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", nargs="+", choices=EXTRAS, default=["base", "serve", "train"])
    options = parser.parse_args()
    introduce()
    found = dict[str, Installed]()
    with tempfile.TemporaryDirectory() as name:
        wheel = build(Path(name))
        for extras in options.extras:
            note(f"Installing {extras}")
            with tempfile.TemporaryDirectory() as folder:
                found[extras] = measured(install(wheel, EXTRAS[extras], Path(folder) / "venv"), EXTRAS[extras])
    print(markdown(found.values()))
    save("install_size", installed={name: asdict(one) for name, one in found.items()})


if __name__ == "__main__":
    main()
