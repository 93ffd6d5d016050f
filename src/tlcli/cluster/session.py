"""A connection to a Ray cluster, or a cluster of this machine alone: quiet, and gone when it is left."""

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import tlcli
from tlcli.errors import NetworkError, ResourceError, UsageError
from tlcli.system.cpu import threads
from tlcli.system.extras import require
from tlcli.system.lazy import hidden, silent_stderr

LOCAL = "local"
_CURRENT = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - Ray's
"""The file in which Ray notes the address of this machine's cluster."""
_CONNECT = 5.0
"""Seconds that a cluster may take to accept a connection."""
_ATTEMPTS = 3
"""Starts on this machine: Ray gives up after 30 s, which a busy machine takes."""
_WORKER = 1200.0
"""Seconds that an autoscaler has for the first worker: a virtual machine that installs TensorFlow takes minutes."""
_OBJECTS = 100 << 20
"""Bytes for Ray's objects on this machine: descriptions of units pass through it, never pixels or features."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_enable_open_telemetry": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_SLOW = "rfc3987_syntax"
"""What jsonschema imports for Ray where it is there (with Jupyter, for instance): 3.6 s of each of Ray's processes, of
which five start at once and have 15 s; nothing here needs it."""
_SECRET = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
"""A local cluster obeys whoever has its token: this process and those that it starts."""


@dataclass(frozen=True)
class Node:
    """What one machine of a cluster gives to it."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class Cluster:
    """What a cluster has now; an autoscaler may add to it."""

    nodes: tuple[Node, ...]
    """Those that are alive."""
    is_local: bool

    @property
    def cpus(self) -> int:
        """Of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """Of all nodes."""
        return sum(node.gpus for node in self.nodes)

    def described(self) -> str:
        """For people."""
        gpus = f", {self.gpus} GPUs" if self.gpus else ""
        where = "this machine" if self.is_local else f"{len(self.nodes)} node{'s' * (len(self.nodes) != 1)}"
        return f"Ray on {where}: {self.cpus} cores{gpus}"


def check_address(address: str) -> None:
    """Refuses what cannot be used before anything else is done.

    Raises:
        UsageError: Ray is not installed, or the address is one of its client.
    """
    require("ray", "--ray")
    if address.startswith("ray://"):
        raise UsageError(
            "usage.ray_client_address",
            f"--ray takes local, auto or HOST:PORT of a cluster that this machine belongs to. Received: {address}",
            "On a machine of the cluster, run: tlcli train --ray auto",
        )


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connects to a cluster; ``local`` starts one on this machine, which ends with the body, however that ends.

    Raises:
        NetworkError: there is no cluster at this address.
        UsageError: see :func:`check_address`.
    """
    check_address(address)
    if address != LOCAL:
        _check_reachable(address)
    before = {name: os.environ.get(name) for name in (*_QUIET, *_SECRET, "PYTHONPATH")}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    folder = tempfile.mkdtemp(prefix="tlcli-ray-")  # Ray's logs and sockets
    os.environ.update({**_QUIET, "PYTHONPATH": _python_path(folder)})
    if address == LOCAL and (_token.cache_info().currsize or "ray" not in sys.modules):
        os.environ.update(zip(_SECRET, ("token", _token()), strict=True))
    try:
        ray = _start(address, folder)
        _restore(handlers)  # Ray's own would end the process without a word
        yield _described(ray, address == LOCAL)
    finally:
        _stop()
        _restore(handlers)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Ray waits a minute for a cluster that is not there, and then ends the process without an exception."""
    found = address
    if address == "auto":
        found = os.environ.get("RAY_ADDRESS", "")
        with suppress(OSError):
            found = found or _CURRENT.read_text().strip()
    host, _, port = found.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT):
            return
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or ("no address of a cluster" if not found else str(error))
        raise NetworkError(
            "network.no_ray_cluster", f"--ray {address}: there is no Ray cluster ({reason}).",
            "Start a cluster with: ray start --head, or use --ray local.",
        ) from error  # fmt: skip


@cache
def _token() -> str:
    """One for all clusters of this process: Ray reads it when it is imported. Where that was before, it makes its own,
    in the home folder."""
    return secrets.token_hex(32)


def _python_path(folder: str) -> str:
    """Where the processes of Ray find tlcli, installed or not, and :data:`_SLOW` looks as if it were not."""
    hiding = Path(folder) / "hiding"
    hiding.mkdir()
    (hiding / f"{_SLOW}.py").write_text("raise ImportError\n")
    own = str(Path(tlcli.__file__).parents[1])
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(hiding), own, *filter(None, others)]))


def _start(address: str, folder: str) -> Any:
    with hidden(_SLOW), silent_stderr():
        import ray

        worker = import_module("ray._private.worker")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    vars(worker)["_worker_logs_enabled"] = False  # else a thread of it prints on stdout that an actor died
    given: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address == LOCAL:
        given |= {
            "num_cpus": threads(), "include_dashboard": False, "object_store_memory": _OBJECTS, "_temp_dir": folder,
        }  # fmt: skip
    for _ in range(_ATTEMPTS if address == LOCAL else 1):
        try:
            with silent_stderr():
                ray.init(**given, address=address)
            return ray
        except Exception as error:  # noqa: BLE001 - Ray raises Exception itself where a start takes more than 30 s
            _stop()
            failed = error
    reason = " ".join(str(failed).split()).rstrip(".") or type(failed).__name__
    raise NetworkError(
        "network.no_ray_cluster", f"--ray {address}: {reason}.",
        "Start a cluster with: ray start --head, or use --ray local on a machine that is not busy.",
    ) from failed  # fmt: skip


def with_a_worker(cluster: Cluster, on_gpu: bool = False) -> Cluster:
    """The cluster with a node that can compute: where none is alive, an autoscaler is made to start one.

    Args:
        cluster: that this process is connected to.
        on_gpu: whether a node with a GPU is asked for.

    Raises:
        ResourceError: none came within 20 minutes.
    """
    if cluster.cpus:
        return cluster
    import ray
    from ray.exceptions import GetTimeoutError

    waiting = ray.remote(num_cpus=1, num_gpus=int(on_gpu))(_nothing).remote()
    try:
        ray.get(waiting, timeout=_WORKER)
    except GetTimeoutError as error:
        ray.cancel(waiting)
        raise ResourceError(
            "resource.no_worker",
            f"{cluster.described()}: none of them computes, and no other came within {_WORKER / 60:.0f} minutes.",
            "Start a worker with: ray start --address=HOST:PORT, or see why the autoscaler starts none with: "
            "ray status.",
        ) from error
    return _described(ray, cluster.is_local)


def _nothing() -> None:
    """A task that needs a node, and nothing else."""


def _described(ray: Any, is_local: bool) -> Cluster:
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Cluster(tuple(Node(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in alive), is_local)


def _stop() -> None:
    if ray := sys.modules.get("ray"):
        with suppress(Exception):  # a cluster that is gone already
            ray.shutdown()


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        with suppress(ValueError, TypeError):  # not the main thread; or a handler that Python did not set
            signal.signal(number, handler)
