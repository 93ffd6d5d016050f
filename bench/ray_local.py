"""Ray on this machine against the local pass: images a second, equal features, and what killed actors cost.

python bench/ray_local.py [--images 10000] [--backbone efficientnet_lite0] [--kills 20] [--runs 1]

The same drawn JPEGs pass the backbone in three ways, each with an empty store, in processes of their own (`tlcli
features`): on this machine, with `--ray local` (an actor a core), and with `--ray local` while actors are killed with
signal 9 at random moments. Two rates are printed: of the whole command, with Ray's start and end, and of the pass once
it runs (the slope of the images in the store over time). The features of all are compared bit for bit, and the images
that were computed more than once are counted, in units. At last the command itself is killed in the middle, and run
again. Writes bench/results/ray_local.json.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine import available_weights
from images import make_tree
from measure import TLCLI, introduce, note, save, settings, table
from tlcli.backbones.catalog import CATALOG
from tlcli.features.store import Store
from tlcli.features.units import UNIT_ROWS
from tlcli.system.cpu import threads


class Pass:
    """`tlcli features` on the images of a folder."""

    def __init__(self, folder: Path, backbone: str) -> None:
        """Runs nothing yet."""
        self._folder, self.backbone = folder, backbone
        given = settings(
            dataset__path=folder / "images", backbone__name=backbone, backbone__weights=available_weights(backbone)
        )
        self._command = [*TLCLI, "features", "--config", "my_images", "--json", "--quiet", *given]

    def start(self, cache: str, *more: str) -> "subprocess.Popen[str]":
        """Starts the command with a cache of its own for features; converted backbones are shared."""
        place = self._folder / cache
        place.mkdir(exist_ok=True)
        for name in ("backbones", "compiled", "weights"):
            shared = self._folder / name
            shared.mkdir(exist_ok=True)
            if not (place / name).exists():
                (place / name).symlink_to(shared, target_is_directory=True)
        return subprocess.Popen(
            [*self._command, *more], cwd=self._folder, env={**os.environ, "TLCLI_CACHE": str(place)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, cache: str, *more: str) -> tuple[float, int]:
        """Seconds of the command, and the images that it computed."""
        started = time.perf_counter()
        return finished(self.start(cache, *more), started)

    def store(self, cache: str) -> Store:
        """The features that a cache has."""
        (key,) = (path for path in (self._folder / cache / "features").iterdir() if path.is_dir())
        before = os.environ.get("TLCLI_CACHE")
        os.environ["TLCLI_CACHE"] = str(self._folder / cache)
        try:
            return Store(key.name, CATALOG[self.backbone].blocks)
        finally:
            if before is not None:
                os.environ["TLCLI_CACHE"] = before


def finished(process: "subprocess.Popen[str]", started: float) -> tuple[float, int]:
    """Seconds until a command ends, which must succeed, and the images that it computed."""
    output, log = process.communicate()
    if process.returncode:
        raise SystemExit(f"tlcli features failed:\n{output[-2000:]}\n{log[-2000:]}")
    return time.perf_counter() - started, int(json.loads(output)["features"]["computed"])


def actors(of: int) -> list[int]:
    """Processes below another one that Ray calls its workers of this pass and that have started to compute."""
    found, below = [], {of}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            name = (path / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent in below:
            below.add(int(path.name))
            if b"ray::MapWorker" in name:
                found.append(int(path.name))
    return found


class Killer(threading.Thread):
    """Kills actors of a command at random moments."""

    def __init__(self, process: "subprocess.Popen[str]", kills: int, seconds: float) -> None:
        """Spreads the kills over so many seconds."""
        super().__init__(daemon=True)
        self._process, self._kills, self._every = process, kills, seconds / max(1, kills)
        self.killed = 0

    def run(self) -> None:
        """Until the command ends."""
        chance = random.Random(0)
        while self.killed < self._kills and self._process.poll() is None:
            time.sleep(chance.uniform(0.5, 1.5) * self._every)
            if found := actors(self._process.pid):
                os.kill(chance.choice(found), signal.SIGKILL)
                self.killed += 1


def equal(one: Store, other: Store) -> bool:
    """Whether two stores have the same rows, bit for bit."""
    keys = sorted(one._locations)
    if keys != sorted(other._locations):
        return False
    parts = [keys[start : start + 2048] for start in range(0, len(keys), 2048)]
    return all(one.read(part).tobytes() == other.read(part).tobytes() for part in parts)


def rows_written(store: Store) -> int:
    """Rows of all shards: more than there are keys where images were computed twice."""
    return sum(map(rows_of, store.folder.glob("*.safetensors")))


def rows_of(path: Path) -> int:
    """Rows of a shard."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as shard:
        return int(shard.get_slice("keys").get_shape()[0])


def running_rate(store: Store) -> float:
    """Images a second once the pass runs: the slope of the images in the store over the times of its shards."""
    shards = sorted((path.stat().st_mtime, rows_of(path)) for path in store.folder.glob("*.safetensors"))
    if len(shards) < 3:
        raise SystemExit(f"Too few images for a rate: {len(shards)} shards.")
    times, rows = np.array(shards).T
    return float(np.polyfit(times - times[0], np.cumsum(rows), 1)[0])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--backbone", default="efficientnet_lite0", choices=list(CATALOG), metavar="NAME")
    parser.add_argument("--kills", type=int, default=0, help="actors to kill in one more pass")
    parser.add_argument("--runs", type=int, default=1, help="of the local pass and of Ray, in turn")
    options = parser.parse_args()
    introduce()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        note(f"Drawing {options.images:,} images")
        make_tree(folder / "images", {"": options.images}, ["dark", "light"])
        (folder / "few").mkdir()
        measured = Pass(folder, options.backbone)
        warm_up(folder, options.backbone)
        found: dict[str, list[float]] = {"this machine": [], "--ray local": []}
        for run in range(options.runs):
            for way, more in (("this machine", ()), ("--ray local", ("--ray", "local"))):
                note(way)
                found[way].append(measured.run(f"{way} {run}", *more)[0])
        right = measured.store("this machine 0")
        rates = {way: max(running_rate(measured.store(f"{way} {run}")) for run in range(options.runs)) for way in found}
        results: dict[str, Any] = {
            "seconds": found, "equal": equal(right, measured.store("--ray local 0")), "running_rates": rates,
            "ratio": rates["--ray local"] / rates["this machine"],
            "ratio_of_commands": min(found["this machine"]) / min(found["--ray local"]),
        }  # fmt: skip
        if options.kills:
            results |= with_kills(measured, right, options.kills, min(found["--ray local"]))
    show(results, options.images)
    given = vars(options)
    save("ray_local", settings=given, actors=threads(), results=results)


def warm_up(folder: Path, backbone: str) -> None:
    """Converts and compiles the backbone."""
    few = folder / "few"
    make_tree(few / "images", {"": 40}, ["dark", "light"])
    for name in ("backbones", "compiled", "weights"):
        (folder / name).mkdir(exist_ok=True)
        (few / name).symlink_to(folder / name, target_is_directory=True)
    Pass(few, backbone).run("cache")


def with_kills(measured: Pass, right: Store, kills: int, seconds: float) -> dict[str, Any]:
    """The pass with killed actors; then one whose command is killed in the middle."""
    note(f"--ray local, {kills} kills")
    started = time.perf_counter()
    process = measured.start("kills", "--ray", "local")
    killer = Killer(process, kills, 0.8 * seconds)
    killer.start()
    took, _ = finished(process, started)
    store = measured.store("kills")
    note("--ray local, the command killed and run again")
    process = measured.start("command", "--ray", "local")
    time.sleep(0.6 * seconds)
    process.kill()
    process.communicate()
    time.sleep(5)  # its actors end when they notice
    before = len(measured.store("command")._locations)
    again, computed = measured.run("command", "--ray", "local")
    return {
        "kills": killer.killed, "seconds_with_kills": took, "equal_with_kills": equal(right, store),
        "rows_repeated": rows_written(store) - len(store._locations),
        "images_before_the_command_was_killed": before, "computed_afterwards": computed, "seconds_afterwards": again,
        "equal_afterwards": equal(right, measured.store("command")),
    }  # fmt: skip


def show(results: dict[str, Any], images: int) -> None:
    """The table."""
    rows = [
        [way, f"{min(seconds):.1f}", f"{images / min(seconds):.1f}", f"{results['running_rates'][way]:.1f}"]
        for way, seconds in results["seconds"].items()
    ]
    if "kills" in results:
        seconds = results["seconds_with_kills"]
        rows.append([f"--ray local, {results['kills']} actors killed", f"{seconds:.1f}", f"{images / seconds:.1f}", ""])
    print(f"\n{table(('the pass', 's, whole command', 'images/s', 'once it runs'), rows)}")
    print(
        f"Ray's share of the local rate: {results['ratio']:.2f} once it runs, {results['ratio_of_commands']:.2f} as "
        f"whole commands; features bit-equal: {results['equal']}"
    )
    if "kills" in results:
        repeated, before = results["rows_repeated"], results["images_before_the_command_was_killed"]
        print(
            f"{results['kills']} kills: store bit-equal: {results['equal_with_kills']}; {repeated:,} rows written "
            f"twice ({repeated / UNIT_ROWS:.1f} units of {UNIT_ROWS})"
        )
        print(
            f"Command killed with {before:,} images in the store: {results['computed_afterwards']:,} were computed "
            f"afterwards; store bit-equal: {results['equal_afterwards']}"
        )


if __name__ == "__main__":
    if sys.platform != "linux":
        raise SystemExit("This program reads /proc.")
    main()
