"""Slow libraries that leave memory behind, or that can be set up once only, run in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from tlcli.errors import ModelError


def run_module(module: str, request: Mapping[str, object], environment: Mapping[str, str], doing: str) -> None:
    """Runs ``python -m module`` with the request as JSON, its one argument, and waits for it.

    Args:
        module: has a ``main`` that does what the request says.
        request: what JSON can hold.
        environment: variables beside those that are set.
        doing: "Converting densenet201", for messages.

    Raises:
        ModelError: with its last line on stderr where it ended with ModelError's exit code, else with all that it said.
    """
    # -P: a keras.py or json.py in the user's current folder is not ours to run
    command = [sys.executable, "-P", "-m", module, json.dumps(request)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode == ModelError.exit_code:
        raise ModelError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise ModelError(f"{doing} failed (exit {done.returncode}):\n{done.stderr.strip()[-2000:]}")
