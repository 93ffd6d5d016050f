"""Writes a graph whose one output is the last layer's average, in a process where Keras runs on OpenVINO."""

from pathlib import Path

import keras

from tlcli.backbones import keras_process
from tlcli.backbones.build import build
from tlcli.backbones.catalog import CATALOG


def write(name: str, size: str, weights: str, out: str) -> None:
    """As the conversion does, to ``model.xml`` in a folder."""
    row = CATALOG[name]
    network = build(row, (int(size), int(size)), Path(weights))
    average = network.features().outputs[row.blocks.names.index("last.avg")]
    keras_process._write_graph(keras.Model(network.levels, [average]), Path(out), [int(size), int(size)], ["last.avg"])
