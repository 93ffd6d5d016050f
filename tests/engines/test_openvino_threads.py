"""OpenVINO's table of NumPy types is built before threads use it: two that build it at once wait for ever."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
import numpy.lib
import openvino
if sys.argv[1] == "engine":
    import tlcli.engines.openvino
calls = []
version = numpy.lib.NumpyVersion.__init__
numpy.lib.NumpyVersion.__init__ = lambda self, text: (calls.append(text), version(self, text))[0] and None
openvino.Tensor(np.zeros(1, np.uint8)).data
print(len(calls))
"""


def python_calls(before: str) -> int:
    """How often the first ``Tensor.data`` after an import runs Python, where another thread may take over."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, before]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_importing_the_engine_builds_the_table() -> None:
    assert python_calls("nothing") > 0, "OpenVINO has changed; is the workaround still needed?"
    assert python_calls("engine") == 0
