"""How fast a backbone passes images on this machine: measured once, and kept in the cache."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.conversion import conversion_versions
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.engines.interface import Engine, open_engine
from tlcli.errors import ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import processor, threads
from tlcli.system.files import cache_folder, write_text

if TYPE_CHECKING:
    from tlcli.images.items import Decoder, Item

SECONDS = 3.0
"""How long images are passed: hundreds of the small networks, and as many of the largest as are at work at a time."""


@dataclass(frozen=True)
class Speed:
    """The rate at which a backbone passes images of the size that its weights were trained at."""

    ms_per_image: float
    """Milliseconds, with all threads busy; decoding is not included."""
    images: int
    """Images that were passed for it."""
    engine: str
    precision: str
    threads: int
    processor: str
    measured: str
    """UTC time, ISO 8601."""


def known_speed(row: Backbone, engine: EngineChoice) -> Speed | None:
    """The speed measured here before, with this engine, its version, the precision and the number of threads."""
    with suppress(OSError, ValueError, TypeError, ResourceError):
        return Speed(**json.loads(_record(row, engine).read_text(encoding="utf-8")))
    return None


def any_speed_is_known() -> bool:
    """Whether anything was measured here: whoever lists speeds need not import an engine otherwise."""
    with suppress(OSError, ResourceError):
        return next(_folder().glob("*.json"), None) is not None
    return False


def measure_speed(
    spec: BackboneSpec,
    progress: Progress = SILENT,
    seconds: float = SECONDS,
    opener: "Callable[[BackboneSpec, Decoder, Progress], Engine]" = open_engine,
) -> Speed:
    """Passes noise through the backbone, and keeps the rate in the cache if that is writable.

    Args:
        spec: the backbone; only the rate at the size of its weights is kept.
        progress: receives the conversion.
        seconds: how long images are passed; at least as many as the engine works on at a time.
        opener: opens the engine.

    Raises:
        ModelError: the weights do not fit the backbone, or the engine is unavailable.
        ResourceError: the disk is full.
    """
    import numpy as np  # noqa: PLC0415 - whoever lists speeds does without it

    from tlcli.images.items import Decoder, Item  # noqa: PLC0415
    from tlcli.images.preparation import Preparation  # noqa: PLC0415
    from tlcli.system.prefetch import in_order  # noqa: PLC0415

    pixels = np.random.default_rng(0).integers(0, 256, (*spec.size, 3)).astype(np.uint8)
    with closing(opener(spec, Decoder(Preparation(spec.size, "squash")), progress)) as engine:

        def passed(for_seconds: float) -> int:
            """Images passed, each thread at least one."""
            items = _until(monotonic() + for_seconds, Item(pixels), engine.window)
            return sum(future.result() is not None for _, future in in_order(engine.submit, items, engine.window))

        passed(0)  # the first images allocate memory
        started = monotonic()
        images = passed(seconds)
        ms = 1000 * (monotonic() - started) / images
    now = datetime.now(UTC).isoformat(timespec="seconds")
    speed = Speed(ms, images, spec.engine.name, spec.engine.precision, threads(), processor().name, now)
    if spec.size != spec.row.input_size:
        return speed
    with suppress(OSError, ResourceError):  # a cache that is read-only
        write_text(_record(spec.row, spec.engine), json.dumps(asdict(speed)))
    return speed


def _until(end: float, item: "Item", least: int) -> Iterator["Item"]:
    """The same item until a time, and a number of times at least."""
    for number in count():
        if number >= least and monotonic() >= end:
            return
        yield item


def _folder() -> Path:
    return cache_folder() / "speed"


def _record(row: Backbone, engine: EngineChoice) -> Path:
    """Its name has a digest of what the rate depends on, as machines may share a cache."""
    depends = [row.builder, row.size, asdict(engine), conversion_versions(), threads(), asdict(processor())]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return _folder() / f"{row.name}-{digest[:16]}.json"
