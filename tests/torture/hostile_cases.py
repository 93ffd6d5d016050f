"""Hostile and damaged bundles, runs and weights: what is changed of a good run, and what then reads it."""

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from tests.torture.hostile_bytes import PAYLOADS, ending

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.torch_file import read_tensors
from tlcli.backbones.weights import find_weights
from tlcli.model.bundle import load_bundle
from tlcli.model.manifest import FORMAT_VERSION, sealed
from tlcli.runs.comparison import compare_runs
from tlcli.runs.predictions import read_predictions
from tlcli.runs.summary import summarize
from tlcli.system.lazy import start_tensorflow
from tlcli.workflows.evaluate import evaluate
from tlcli.workflows.predict import predict
from tlcli.workflows.runs import list_runs

ROW = CATALOG["mobilenet_v2"]
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Hostile:
    """A change of a run, after which it must be refused."""

    place: str
    """What is changed."""
    name: str
    change: Callable[[Path, Path], object]
    """Given a copy of the run and the canary that must not be created."""
    read: Read
    """Reads it; must raise one of tlcli's errors."""
    codes: tuple[str, ...] = ()
    """The error codes that may refuse it; any where empty."""


def _model(run: Path) -> object:
    return load_bundle(run / "model")


def _predict(run: Path) -> object:
    return predict(run, ["none.jpg"], 1)


def _weights(run: Path) -> object:
    """Found, and read where its first bytes are of a format that is read, into a network that no file holds."""
    path = next(run.glob("weights.*"))
    find_weights(CATALOG["resnet50"], path)
    start_tensorflow()
    import keras

    from tlcli.backbones.weights_loading import load_weights

    load_weights(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), path, "resnet50")
    return path


def _listed(run: Path) -> object:
    """The list names broken runs and goes on; the error of this one is raised here, and must be listed."""
    broken = list_runs(run.parent.parent).broken
    assert not broken or f"{run.parent.name}/{run.name}" in broken
    return summarize(run) if broken else None


def _compared(run: Path) -> object:
    return compare_runs(run.parent.parent, run, run.parent / "other")


def _signed(run: Path, name: str, data: bytes) -> None:
    """Another file of arrays, with its digest in the manifest, as an attacker would."""
    (run / "model" / f"{name}.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()

    def change(manifest: dict[str, Any]) -> None:
        if name == "head":
            manifest["head_sha256"] = digest
        else:
            manifest["reference"]["sha256"] = digest

    _manifest(run, change)


def _manifest(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(sealed(manifest)))


def _record(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "run.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


Change = Callable[[Path, Path], object]


def _as(data: bytes) -> Callable[[Path], bytes]:
    """These bytes, whatever the canary's path."""
    return lambda _canary: data


def _put(file: str, made: Callable[[Path], bytes]) -> Change:
    return lambda run, canary: (run / file).write_bytes(made(canary))


def _sign(array: str, made: Callable[[Path], bytes]) -> Change:
    return lambda run, canary: _signed(run, array, made(canary))


def _manifested(changes: dict[str, Any], section: str = "") -> Change:
    return lambda run, _canary: _manifest(run, lambda m: (m[section] if section else m).update(changes))


def _recorded(changes: dict[str, Any], without: str = "") -> Change:
    def change(record: dict[str, Any]) -> None:
        record.update(changes)
        record.pop(without, None)

    return lambda run, _canary: _record(run, change)


def _in_place(file: str, make: Callable[[Path], object]) -> Change:
    return lambda run, _canary: _replaced(run / file, make)


def _hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def hostile() -> list[Hostile]:
    """All of them."""
    return [*_payloads(), *_arrays(), *_manifests(), *_records(), *_no_files(), *_torch()]


def _payloads() -> Iterator[Hostile]:
    for name, made in PAYLOADS.items():
        for array in ("head", "reference"):
            yield Hostile(
                f"{array}.safetensors, its digest fits", name,
                _sign(array, made), _model,
            )  # fmt: skip
        for file, read in (("model/manifest.json", _predict), ("run.json", evaluate), ("config.yaml", evaluate)):
            yield Hostile(file, name, _put(file, made), read)
        yield Hostile(
            "predictions.csv",
            name,
            _put("predictions.csv", made),
            read_predictions,
        )
        if ending(name) != "safetensors":
            yield Hostile(
                "backbone.weights", name,
                _put(f"weights{ending(name)}", made),
                _weights, ("model.weights_format", "model.weights_mismatch", "model.weights_malformed"),
            )  # fmt: skip
        yield Hostile(
            "a file of PyTorch",
            name,
            _put("t.pth", made),
            lambda run: read_tensors(run / "t.pth"),
        )


def _head(**changes: object) -> bytes:
    arrays: dict[str, Any] = {
        "weights": np.zeros((ROW.features, 1), np.float32),
        "bias": np.zeros(1, np.float32),
        **changes,
    }
    return safetensors.numpy.save({name: np.asarray(array) for name, array in arrays.items() if array is not None})


def with_header(header: object, data: bytes = b"") -> bytes:
    """A safetensors file with this header, JSON or text."""
    text = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def broken_arrays() -> dict[str, bytes]:
    """Safetensors files that no reader may accept."""
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    twice = '{"weights":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"weights":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'
    return {
        "empty": b"", "seven bytes": bytes(7), "a header of 2^64 bytes": b"\xff" * 8 + b"{}",
        "a header of 100 MB said to follow": struct.pack("<Q", 10**8) + b"{}", "a header cut short": struct.pack("<Q", 9) + b'{"a":',
        "a header that is no JSON": with_header("weights: 1"), "a header that is a number": with_header(7),
        "a header in UTF-16": with_header(json.dumps({"weights": one}).encode("utf-16").decode("latin-1"), bytes(8)),
        "a header of half a character": with_header('{"\ud800": {}}'), "10,000 levels of header": with_header('{"a":' * 10_000),
        "100,000 names": with_header({f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_000)}),
        "a name twice": with_header(twice, bytes(16)), "offsets that overlap": with_header({"weights": one, "bias": one}, bytes(8)),
        "offsets backwards": with_header({"weights": {**one, "data_offsets": [8, 0]}}, bytes(8)),
        "offsets below 0": with_header({"weights": {**one, "data_offsets": [-8, 0]}}, bytes(8)),
        "offsets of 2^63": with_header({"weights": {**one, "data_offsets": [2**63, 2**63 + 8]}}, bytes(8)),
        "a shape of 2^62 x 2^62": with_header({"weights": {**one, "shape": [2**62, 2**62]}}, bytes(8)),
        "a shape below 0": with_header({"weights": {**one, "shape": [-2]}}, bytes(8)),
        "a shape of halves": with_header({"weights": {**one, "shape": [0.5, 4]}}, bytes(8)),
        "a shape of 100,000 axes": with_header({"weights": {**one, "shape": [1] * 99_998 + [2]}}, bytes(8)),
        "numbers of 8-bit floats": with_header({"weights": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, bytes(8)),
        "bfloat16": with_header({"weights": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
        "objects": with_header({"weights": {**one, "dtype": "O"}}, bytes(8)),
        "notes that are no text": with_header({"__metadata__": {"a": 1}, "weights": one}, bytes(8)),
        "bytes behind its end": with_header({"weights": one}, bytes(99)),
    }  # fmt: skip


def _arrays() -> Iterator[Hostile]:
    for name, data in broken_arrays().items():
        for array in ("head", "reference"):
            yield Hostile(
                f"{array}.safetensors, its digest fits",
                name,
                _sign(array, _as(data)),
                _model,
            )
    wrong: dict[str, Any] = {
        "a name that is none": {"../../x": np.zeros(1, np.float32)}, "no weights": {"weights": None},
        "a name of 100,000 letters": {"x" * 100_000: np.zeros(1, np.float32)},
        "weights of another network": {"weights": np.zeros((1920, 1), np.float32)}, "no numbers (NaN)": {"bias": np.full(1, np.nan, np.float32)},
        "infinite ones": {"bias": np.full(1, np.inf, np.float32)}, "64-bit ones": {"bias": np.zeros(1)}, "whole ones": {"bias": np.zeros(1, np.int32)},
        "complex ones": {"bias": np.zeros(1, np.complex64)},
    }  # fmt: skip
    for name, changes in wrong.items():
        yield Hostile(
            "head.safetensors, its digest fits",
            name,
            _sign("head", _as(_head(**changes))),
            _model,
        )
    yield Hostile(
        "head.safetensors",
        "its last byte changed",
        lambda run, _c: _flip(run / "model/head.safetensors"),
        _model,
        ("model.bundle_damaged",),
    )
    yield Hostile(
        "reference.safetensors",
        "its last byte changed",
        lambda run, _c: _flip(run / "model/reference.safetensors"),
        _model,
        ("model.bundle_damaged",),
    )


def _flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _manifests() -> Iterator[Hostile]:
    for version in (0, 1, FORMAT_VERSION + 1, 99, -1, 10**30, "3", "99", None, [3], {"a": 2}, 1e308, "x" * 10_000):
        yield Hostile(
            "manifest.json",
            f"format version {version!r:.30}",
            _manifested({"format_version": version}),
            _predict,
            ("model.format_version",),
        )
    for name in ("../../x", "/etc/passwd", "a\0b", "densenet201/../x", "os.system", "", "x" * 300):
        yield Hostile(
            "manifest.json",
            f"backbone {name!r:.30}",
            _manifested({"name": name}, "backbone"),
            _predict,
            ("model.unknown_backbone", "model.manifest_malformed"),
        )
    values: dict[str, dict[str, Any]] = {
        "labels twice": {"labels": ["a", "a"]}, "one label": {"labels": ["a"]}, "100,000 labels": {"labels": [str(n) for n in range(100_000)]},
        "labels that are numbers": {"labels": [1, 2]}, "a text for labels": {"labels": "ab"}, "a label of half a character": {"labels": ["\ud800", "b"]},
        "temperature 0": {"temperature": 0}, "temperature below 0": {"temperature": -1}, "temperature NaN": {"temperature": float("nan")},
        "temperature 10^400": {"temperature": 10**400}, "a digest in capitals": {"head_sha256": "A" * 64}, "a digest with a path": {"head_sha256": "../" * 21 + "a"},
        "an unknown key": {"architecture": "os.system"}, "__class__": {"__class__": "os.system"}, "a list for the backbone": {"backbone": []},
        "the version a list": {"tlcli_version": []},
    }  # fmt: skip
    for name, changes in values.items():
        yield Hostile("manifest.json", name, _manifested(changes), _model)
    preparations: dict[str, dict[str, Any]] = {
        "images of 10^9 pixels a side": {"size": 10**9}, "images of 4096 pixels a side below nothing": {"size": -4096},
        "no megapixels": {"max_megapixels": 0}, "endless megapixels": {"max_megapixels": 1e300}, "EPS among the formats": {"formats": ["EPS"]},
        "the decoder of another version": {"decoder_version": 1}, "a decoder of 10^18": {"decoder_version": 10**18},
    }  # fmt: skip
    for name, changes in preparations.items():
        yield Hostile(
            "manifest.json",
            name,
            _manifested(changes, "preparation"),
            _model,
        )
    texts = {
        "empty": b"", "200,000 lists in each other": b"[" * 200_000, "200,000 objects in each other": b'{"a":' * 200_000,
        "a number of 100,000 digits": b'{"format_version": ' + b"9" * 100_000 + b"}", "NaN": b"NaN", "null": b"null",
        "half a UTF-8 character": b'{"a": "\xc3', "UTF-16": '{"format_version": 3}'.encode("utf-16"), "a list": b"[]",
        "keys twice": b'{"format_version": 3, "format_version": 1}', "zeros": bytes(10_000),
    }  # fmt: skip
    for name, data in texts.items():
        for file, read in (("model/manifest.json", _predict), ("run.json", evaluate), ("metrics.json", _listed)):
            yield Hostile(file, name, _put(file, _as(data)), read)


def _records() -> Iterator[Hostile]:
    changes: dict[str, dict[str, Any]] = {
        "a config that is a number": {"config": 5}, "a config that is a list": {"config": ["a"]}, "skipped images that are numbers": {"skipped": [1]},
        "skipped images that are a text": {"skipped": "abc"}, "skipped images without a path": {"skipped": [{}]}, "nothing skipped": {"skipped": None},
        "a head that is a list": {"head": []}, "a C that is a text": {"head": {"C": "x", "chosen_step": 1}},
        "seconds that are texts": {"seconds": {"a": "b"}}, "images that are a list": {"images": []}, "a digest that is a number": {"data_digest": 7},
        "another digest": {"data_digest": "0" * 64},
    }  # fmt: skip
    for name, change in changes.items():
        yield Hostile("run.json", name, _recorded(change), evaluate)
    for key in ("config", "skipped", "head", "seconds", "images", "data_digest"):
        yield Hostile("run.json", f"without {key}", _recorded({}, key), evaluate)
    configs = {
        "a path of another data set": "dataset: {path: elsewhere}\n", "nothing": "", "a list": "[]\n", "100 levels": "a: " + "{a: " * 100,
        "aliases of billions": "a: &a [1, 1]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)),
        "weights that are a pickle": "dataset: {path: shapes}\nbackbone: {name: mobilenet_v2, weights: x.pkl}\n",
        "a network by an import path": "dataset: {path: shapes}\nbackbone: {name: os.system}\n",
    }  # fmt: skip
    for name, text in configs.items():
        yield Hostile("config.yaml", name, _put("config.yaml", _as(text.encode())), evaluate)
    tables = {
        "no columns": "a\n",
        "too few cells": "path,sha256,split,label,predicted\na,b\n",
        "a quote without end": 'path,sha256,split,label,predicted\n"a',
    }
    for name, text in tables.items():
        yield Hostile("predictions.csv", name, _put("predictions.csv", _as(text.encode())), _compared)


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


def _no_files() -> Iterator[Hostile]:
    kinds: dict[str, Callable[[Path], object]] = {
        "is missing": lambda _path: None, "is a folder": Path.mkdir, "is a named pipe": os.mkfifo,
        "leads to a device without end": lambda path: path.symlink_to("/dev/zero"),
        "leads to itself": lambda path: path.symlink_to(path.name), "leads to nothing": lambda path: path.symlink_to("nothing"),
        "leads to a file of the system": lambda path: path.symlink_to("/proc/self/environ"),
        "is a hole of 1 TiB": _hole,
    }  # fmt: skip
    files: dict[str, Read] = {
        "model/manifest.json": _predict, "model/head.safetensors": _model, "model/reference.safetensors": _model, "run.json": evaluate,
        "config.yaml": evaluate, "metrics.json": _listed, "predictions.csv": read_predictions,
    }  # fmt: skip
    for file, read in files.items():
        for name, make in kinds.items():
            if (file, name) != ("predictions.csv", "is a hole of 1 TiB"):  # a table may be long; it is read row by row
                yield Hostile(file, name, _in_place(file, make), read)
    for name in (
        "is a folder",
        "is a named pipe",
        "leads to a device without end",
        "leads to itself",
        "leads to nothing",
    ):
        yield Hostile(
            "backbone.weights",
            name,
            _in_place("weights.safetensors", kinds[name]),
            lambda run: find_weights(ROW, run / "weights.safetensors"),
            ("model.weights_not_found",),
        )


def _torch() -> Iterator[Hostile]:
    def file(state: bytes, machine: bytes = pickle.dumps({"little_endian": True}, 2)) -> bytes:
        head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
        return head + machine + state + pickle.dumps([], 2)

    p = b"\x80\x02"
    cases = {
        "tuples in each other, a million, as a key": file(p + b"}N" + b"\x85" * 1_000_000 + b"Ns."),
        "lists in each other, a million": file(p + b"}K\1" + b"]" * 1_000_000 + b"a" * 999_999 + b"s."),
        "a list that holds itself": file(p + b"}K\1]q\0h\0as."),
        "a tuple that holds itself": file(p + b"}K\1(]q\0h\0atq\1h\1as."),
        "a memo of 4 billion": file(p + b"}r\xff\xff\xff\xff."), "a memo of nothing": file(p + b"h\x05."), "no stack": file(p + b"0."),
        "a frame of 2^63 bytes": file(p + b"\x95" + b"\xff" * 8), "a text of 4 GiB": file(p + b"X\xff\xff\xff\xffa"),
        "a number of 2^31 bytes": file(p + b"\x8b\xff\xff\xff\x7f1."), "out-of-band buffers": file(p + b"\x97."),
        "an extension of copyreg": file(p + b"\x82\1."), "a number in letters": file(p + b"I5\n."), "a text that is evaluated": file(p + b"S'a'\n."),
        "a persistent name in letters": file(p + b"Pa\n."), "a global from the stack": file(b"\x80\x04\x8c\x02os\x8c\x06system\x93."),
        "an instance (INST)": file(b"(S'a'\nios\nsystem\n."), "an object (OBJ)": file(b"(cos\nsystem\nS'a'\no."),
        "a new object (NEWOBJ)": file(p + b"cbuiltins\nobject\n)\x81."), "a global of no module": file(p + b"c\n\n."),
        "a global with dots": file(p + b"ccollections\nOrderedDict.fromkeys\n."), "a set": file(b"\x80\x04\x8f."), "bytes": file(b"\x80\x03C\1a."),
        "an attribute of the state": file(p + b"ccollections\nOrderedDict\n)R}X\5\0\0\0itemsK\1sb."),
        "no end": file(p + b"}")[:60], "a machine that is a pickle bomb": file(p + b"}.", p + b"}N" + b"\x85" * 1_000_000 + b"Ns."),
    }  # fmt: skip
    for name, data in cases.items():
        yield Hostile(
            "a file of PyTorch",
            name,
            _put("t.pth", _as(data)),
            lambda run: read_tensors(run / "t.pth"),
        )
