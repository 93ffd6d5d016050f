"""Images a second of the backbones by precision, beside Keras and the peak of the machine.

python bench/extract.py [--backbones densenet201 resnet50 ...] [--precisions f32 bf16 int8] [--runs 3] [--seconds 3]

The engine alone: decoded images lie in memory. Keras is `predict` in batches of 32 on TensorFlow, the same network
in float32, in a process of its own. The peak is the best matrix product (OpenVINO, same precision) found in the same
turn; the share is the network's convolutions and products (2 operations a multiply-add, counted in its graph) a second
over that peak. All take turns, --runs times. Writes bench/results/extract.json.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from engine import PRECISIONS, available, available_weights, flop_of_graph, opened, rate, spec_of
from images import arrays
from measure import PLAIN, in_turn, introduce, note, ratio, save, spread, table, values
from peak import Peak
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.conversion import convert

BACKBONES = ("densenet201", "efficientnet_lite0", "resnet50", "efficientnet_v2_b0", "convnext_tiny")


class Keras:
    """A process on TensorFlow that predicts on request."""

    def __init__(self, name: str) -> None:
        """Starts it and waits until the network is there."""
        command = [sys.executable, str(PLAIN / "features.py"), name, "--weights", available_weights(name)]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._images = 64
        self._answer()

    def rate(self, seconds: float) -> float:
        """Images a second over about so many seconds."""
        self._say(str(self._images))
        images, elapsed = map(float, self._answer().split())
        self._images = max(32, round(seconds * images / elapsed))
        return images / elapsed

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._log.seek(0)
            raise SystemExit(f"The Keras process ended:\n{self._log.read()[-3000:]}")
        return line

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()
        self._log.close()


def measured(name: str, precisions: Sequence[str], peaks: dict[str, Peak], runs: int, seconds: float) -> dict[str, Any]:
    """All figures of one backbone."""
    note(f"{name}: converting, compiling, starting Keras")
    flop = flop_of_graph(convert(spec_of(name, "f32")).xml)
    images = arrays(32, CATALOG[name].size)
    engines = {precision: opened(name, precision)[0] for precision in precisions}
    keras = Keras(name)
    turns: dict[str, Callable[[], float]] = {"keras f32": lambda: keras.rate(seconds)}
    for precision, engine in engines.items():
        turns[precision] = partial(rate, engine, images, seconds)
        turns[f"peak {precision}"] = peaks[precision].gflops
    keras.rate(seconds)  # how many images fill the time
    found = {turn: values(rates) for turn, rates in in_turn(turns, runs).items()}
    keras.close()
    return {"gflop_a_image": round(flop / 1e9, 3), "weights": available_weights(name), **found}


def lines(name: str, found: dict[str, Any], precisions: Sequence[str]) -> list[list[str]]:
    """A row of the table for Keras, and one for each precision."""
    rows = [[name, "Keras f32", spread(found["keras f32"], 1), "1.0", "", ""]]
    for precision in precisions:
        median = found[precision]["median"]
        peak = found[f"peak {precision}"]
        share = median * found["gflop_a_image"] / peak["median"]
        times = ratio(found[precision], found["keras f32"])
        rows.append(["", precision, spread(found[precision], 1), f"{times:.1f}", spread(peak, 0), f"{share:.0%}"])
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=list(CATALOG), metavar="NAME")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS, metavar="PRECISION")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    options = parser.parse_args()
    introduce()
    precisions = available(options.precisions)
    peaks = {precision: Peak(precision) for precision in precisions}
    results = {name: measured(name, precisions, peaks, options.runs, options.seconds) for name in options.backbones}
    columns = ("backbone", "precision", "images/s", "x Keras", "peak, GFLOP/s", "share of peak")
    print(table(columns, [row for name, found in results.items() for row in lines(name, found, precisions)]))
    counted = ", ".join(f"{name} {found['gflop_a_image']:.2f}" for name, found in results.items())
    print(f"GFLOP an image: {counted}. Medians of {options.runs} turns (least to most).")
    primitives = {precision: peak.primitive for precision, peak in peaks.items()}
    save("extract", settings=vars(options), results=results, products=primitives)


if __name__ == "__main__":
    main()
