"""A double that takes its time and leaves its process id, for actors that are killed; and a command that runs it.

python -m tests.cluster.slow_engine FOLDER [ADDRESS]: the frozen pass on a cluster, by default a local one, over the
images of the folder; prints what a user would see, and how many views were computed.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.features.extractors import extractor_of, row_of

from tlcli.backbones.spec import BackboneSpec
from tlcli.cluster.frozen_pass import RayPass
from tlcli.datasets.index import LabelledImage
from tlcli.engines.double import FakeEngine
from tlcli.errors import NetworkError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.key import feature_key
from tlcli.features.store import Store
from tlcli.images.items import Decoder
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH = 6
PIDS = "TLCLI_TEST_PIDS"
"""The variable that names the folder of process ids."""
PAUSE = "TLCLI_TEST_PAUSE"
"""The variable with the seconds that an image takes."""
SILENT_STORE = "TLCLI_TEST_SILENT_STORE"
"""The variable that names a folder: while it has files, an image removes one, and its store does not answer."""


class SlowEngine(FakeEngine):
    """Computes 20 images a second in each of two threads, or as many as a variable says."""

    @classmethod
    def open(cls, spec: BackboneSpec, decoder: Decoder, progress: Progress = SILENT) -> "SlowEngine":
        """See :meth:`FakeEngine.open`."""
        if folder := os.environ.get(PIDS):
            (Path(folder) / str(os.getpid())).touch()
        return cls(decoder, spec.row.blocks)

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """See :meth:`FakeEngine.feature`."""
        time.sleep(float(os.environ.get(PAUSE, "0.05")))
        if (name := os.environ.get(SILENT_STORE)) and taken(Path(name)):
            raise NetworkError("network.store_unavailable", "s3://bucket could not be read.")
        return super().feature(pixels)


def images_of(folder: Path) -> list[LabelledImage]:
    """The files of a folder."""
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    return [LabelledImage(path, path.name, sha, "any", "train", sha) for path, sha in digests.items()]


def taken(folder: Path) -> bool:
    """Removes a file of a folder, and says whether there was one."""
    for one in folder.iterdir():
        with suppress(FileNotFoundError):
            one.unlink()
            return True
    return False


def slow_extractor(elsewhere: bool = True, address: str = "local") -> FeatureExtractor:
    """With a store that is opened now."""
    made = extractor_of(Store("0" * 64, row_of(WIDTH).blocks), WIDTH)
    store = Store(feature_key(made.spec, made.decoder.preparation), made.store.blocks)
    return replace(made, store=store, opener=SlowEngine.open, elsewhere=RayPass(address) if elsewhere else None)


def say(line: str) -> None:
    """Prints a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Said(Progress):
    """Prints stages and notes."""

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        """Prints its title."""
        say(title)
        yield

    def note(self, message: str) -> None:
        """Prints it."""
        say(message)


if __name__ == "__main__":
    folder, address = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "local"
    extractor = slow_extractor(address=address)
    done = extractor.extract([(images_of(folder), extractor.views)], Said())
    say(f"{done.computed} computed")
