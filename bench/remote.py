"""Images on an object store against the same images on this machine: images a second of a cold `tlcli features`.

python bench/remote.py [--images 2000] [--backbone densenet201] [--latency 20] [--runs 1]

The store is a server on this machine that speaks S3 (bench/object_server.py) and waits --latency milliseconds before it
looks at a request and as long before it answers, in a process of its own. The images are 250-pixel thumbnails, all
different. A pass of both kinds starts without features and digests, and with the backbone converted; local and remote
passes take turns. The server's work is done by the same processor, which a real store's is not: its seconds are given.
Writes bench/results/remote.json.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from time import process_time

from images import make_tree
from measure import Process, in_turn, introduce, note, ratio, save, settings, spread, table, tlcli, values
from object_server import ObjectServer

CLASSES = ("a", "b", "c", "d")


def serve(folder: Path, latency: float, ends: Connection) -> None:
    """Serves the files of a folder as the bucket ``bench`` until told to end; sends its address, then its seconds."""
    server = ObjectServer(latency)
    for path in folder.rglob("*.jpg"):
        server.objects[f"bench/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    ends.send(server.url)
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    while ends.recv() == "seconds":
        ends.send(process_time())


class Pass:
    """A cold pass over the images."""

    def __init__(self, folder: Path, path: str | Path, backbone: str) -> None:
        """Runs nothing yet."""
        self._folder, self._cache = folder, folder / "cache"
        self._given = settings(
            dataset__path=path, backbone__name=backbone, backbone__weights="random", backbone__precision="f32"
        )

    def __call__(self) -> Process:
        """Without features, digests and listings."""
        for kind in ("features", "objects", "images"):
            shutil.rmtree(self._cache / kind, ignore_errors=True)
        for path in self._cache.glob("digests*"):
            path.unlink()
        return self.warm()

    def warm(self) -> Process:
        """With whatever is there."""
        return tlcli(self._folder, self._cache, "features", "--config", "my_images", "--json", "--quiet", *self._given)


def main() -> None:
    """Prints the table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--backbone", default="densenet201")
    parser.add_argument("--latency", type=float, default=20, help="milliseconds, each way")
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    introduce()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(folder / "images", {"": given.images}, CLASSES)
        ends, others = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(folder / "images", given.latency / 1000, others), daemon=True
        )
        server.start()
        os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_ENDPOINT_URL=ends.recv())
        passes: dict[str, Callable[[], Process]] = {
            "local": Pass(folder, folder / "images", given.backbone),
            "remote": Pass(folder, "s3://bench", given.backbone),
        }
        few = folder / "few"
        few.mkdir()
        for path in sorted((folder / "images").rglob("*.jpg"))[:: max(1, given.images // 40)]:
            (few / path.parent.name).mkdir(exist_ok=True)
            shutil.copy(path, few / path.parent.name)
        note("converting the backbone")
        Pass(folder, few, given.backbone)()
        before = _seconds(ends)
        measured = in_turn(passes, given.runs)
        served = (_seconds(ends) - before) / given.runs
        ends.send("end")
        server.join()
    _report(measured, given, served)


def _seconds(ends: Connection) -> float:
    ends.send("seconds")
    return float(ends.recv())


def _report(measured: dict[str, list[Process]], given: argparse.Namespace, served: float) -> None:
    for kind, runs in measured.items():
        for one in runs:
            computed = one.document()["features"]["computed"]
            if computed != given.images:
                raise SystemExit(f"{kind}: {computed} of {given.images} images computed")
    rates = {kind: values(given.images / one.seconds for one in runs) for kind, runs in measured.items()}
    share = ratio(rates["remote"], rates["local"])
    rows = [
        (
            kind,
            spread(rates[kind]),
            spread(values(one.processor for one in runs), 1),
            spread(values(one.memory_mb for one in runs), 0),
        )
        for kind, runs in measured.items()
    ]
    print(f"\n{given.images:,} images, {given.backbone}, {given.latency:g} ms each way")
    print(table(("images are", "images/s", "processor, s", "memory, MB"), rows))
    print(f"remote / local: {share:.2f}; the server took {served:.1f} s of the processor")
    save(
        "remote", images=given.images, backbone=given.backbone, latency_ms=given.latency, images_per_second=rates,
        remote_over_local=round(share, 4), server_seconds=round(served, 2),
        seconds={kind: values(one.seconds for one in runs) for kind, runs in measured.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
