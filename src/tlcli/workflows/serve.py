"""Serve: answers over HTTP with the models of one or several runs. No TensorFlow, no scikit-learn."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.progress import SILENT, Progress
from tlcli.runs.folders import RunConfig, find_run
from tlcli.serving.limits import Limits
from tlcli.serving.listening import listen
from tlcli.serving.security import Guard, can_be_read_by_others, read_token
from tlcli.system.cpu import threads
from tlcli.system.extras import require

if TYPE_CHECKING:
    from tlcli.serving.models import Models


@dataclass(frozen=True)
class Serving:
    """What is served, once it is."""

    url: str
    models: tuple[tuple[str, str], ...]
    """Name and version of each."""
    has_token: bool
    corrections: Path | None


@dataclass(frozen=True)
class Address:
    """Where the server listens, and for whom."""

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()


def serve(
    runs_dir: Path,
    config: RunConfig | None = None,
    runs: Sequence[Path] = (),
    address: Address = Address(),
    min_confidence: float = 0.0,
    corrections: Path | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = SILENT,
    started: Callable[[Serving], None] = lambda _: None,
) -> None:
    """Serves until it is told to stop (SIGTERM, Ctrl-C).

    Args:
        runs_dir: the folder of the runs.
        config: whose newest run is served where no run is named.
        runs: the runs, by any of their names; none is the newest. SIGHUP looks for them again.
        address: host, port and token.
        min_confidence: below this probability the answer is "unsure", where a request says nothing else.
        corrections: the folder for images that users have given another class.
        limits: of the queue, times and sizes.
        progress: receives a line for each event of the server.
        started: called when it answers.

    Raises:
        UsageError: the extra is not installed; the token is missing or unusable; there is no such host or run.
        ModelError, NetworkError: a model is damaged, or its backbone is unavailable.
        ResourceError: the port is in use.
    """
    require("serve", "tlcli serve")
    named = _found(runs_dir, config, runs)
    token = read_token(address.token_file, address.host)
    if address.token_file is not None and can_be_read_by_others(address.token_file):
        progress.note(f"Warning: other users of this machine can read {address.token_file}: chmod 600 it.")
    with listen(address.host, address.port) as opened:
        with ThreadPoolExecutor(1) as beside:  # OpenVINO reads the models while FastAPI is imported
            loading = beside.submit(_load, named, progress)
            from tlcli.serving.app import Service  # noqa: PLC0415 - an extra
            from tlcli.serving.corrections import Corrections  # noqa: PLC0415
            from tlcli.serving.decoding import Decoders  # noqa: PLC0415
            from tlcli.serving.server import Callbacks, run  # noqa: PLC0415

            models = loading.result()
        stored = Corrections(corrections, limits.corrections) if corrections else None
        service = Service(models, limits, Decoders(threads(), limits), min_confidence, stored)

        def announce(port: int) -> None:
            host = f"[{address.host}]" if ":" in address.host else address.host
            served = tuple((one.name, one.version) for one in service.models.all)
            started(Serving(f"http://{host}:{port}", served, token is not None, corrections))

        guard = Guard(address.host, token, address.allowed_hosts)
        callbacks = Callbacks(announce, progress.note, lambda: _load(_found(runs_dir, config, runs), progress))
        run(service, guard, opened, callbacks)


def _load(runs: Sequence[Path], progress: Progress) -> "Models":
    from tlcli.serving.models import load_models  # noqa: PLC0415 - NumPy, Pillow

    return load_models(runs, progress)


def _found(runs_dir: Path, config: RunConfig | None, runs: Sequence[Path]) -> list[Path]:
    return [find_run(runs_dir, config, run) for run in runs] or [find_run(runs_dir, config)]
