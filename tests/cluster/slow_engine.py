"""A double that takes its time and leaves its process id, for actors that are killed; and a command that runs it.

python -m tests.cluster.slow_engine FOLDER: the frozen pass on a local cluster, over the images of the folder.
"""

import hashlib
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.features.extractors import extractor_of, row_of

from tlcli.backbones.spec import BackboneSpec
from tlcli.cluster.frozen_pass import RayPass
from tlcli.datasets.index import LabelledImage
from tlcli.engines.double import FakeEngine
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
        return super().feature(pixels)


def images_of(folder: Path) -> list[LabelledImage]:
    """The files of a folder."""
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    return [LabelledImage(path, path.name, sha, "any", "train", sha) for path, sha in digests.items()]


def slow_extractor(elsewhere: bool = True) -> FeatureExtractor:
    """With a store that is opened now."""
    made = extractor_of(Store("0" * 64, row_of(WIDTH).blocks), WIDTH)
    store = Store(feature_key(made.spec, made.decoder.preparation), made.store.blocks)
    return replace(made, store=store, opener=SlowEngine.open, elsewhere=RayPass("local") if elsewhere else None)


if __name__ == "__main__":
    extractor = slow_extractor()
    extractor.extract([(images_of(Path(sys.argv[1])), extractor.views)])
