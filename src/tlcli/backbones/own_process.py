"""Slow libraries that leave memory behind, or that can be set up once only, run in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tlcli.errors import ModelError, ResourceError
from tlcli.system.files import format_size, free_bytes


def run_module(module: str, request: Mapping[str, object], environment: Mapping[str, str], doing: str) -> None:
    """Runs ``python -m module`` with the request as JSON, its one argument, and waits for it.

    Args:
        module: has a ``main`` that does what the request says.
        request: what JSON can hold.
        environment: variables beside those that are set.
        doing: "Converting densenet201", for messages.

    Raises:
        ResourceError: it failed where its disk is nearly full.
        ModelError: with its last line on stderr where it ended with ModelError's exit code, else with all that it said.
    """
    # -P: a keras.py or json.py in the user's current folder is not ours to run
    command = [sys.executable, "-P", "-m", module, json.dumps(request)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode == ModelError.exit_code:
        raise ModelError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        _check_room(request, doing, done.stderr.strip())
        raise ModelError(f"{doing} failed (exit {done.returncode}):\n{done.stderr.strip()[-2000:]}")


def _check_room(request: Mapping[str, object], doing: str, said: str) -> None:
    """OpenVINO says 'iostream error' of a full disk, and removes what it wrote: only what is free tells."""
    out = Path(str(request.get("out", "")))
    if (free := free_bytes(out)) < _NEEDED:
        reason = said.splitlines()[-1] if said else "it said nothing"
        raise ResourceError(
            f"{doing} failed ({reason}), and its disk is nearly full: {out} ({format_size(free)} free, "
            f"{format_size(_NEEDED)} are enough). Free some space, or point $TLCLI_CACHE to another disk."
        )


_NEEDED = 600_000_000
"""Bytes: the largest network of the catalog, twice, while it is converted."""
