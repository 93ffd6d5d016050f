"""Hostile files through the real command line, caches with other content, and bundles on other machines."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.hostile_bytes import PAYLOADS
from tests.torture.trained import Done, Trained

from tlcli.model.manifest import sealed
from tlcli.system.files import sha256_file

IMAGE = "shapes/dark/1.png"


def _refused(done: Done, what: str, exit_code: int, code: str) -> str:
    """Asserts that a command ended with one error of this code."""
    assert done.code == exit_code, f"{what}: {done.code}\n{done.err}"
    errors = [line for line in done.err.splitlines() if line.startswith("Error")]
    assert len(errors) == 1, f"{what}: {done.err}"
    assert errors[0].startswith(f"Error [{code}]: "), f"{what}: {done.err}"
    return f"`{code}`, exit code {exit_code}"


def _probabilities(done: Done) -> list[float]:
    assert done.code == 0, done.err
    return [one["probability"] for one in json.loads(done.out)]


def commands(made: Trained, large: bool) -> Iterator[tuple[str, str]]:
    """What was given to the real command, and its outcome."""
    canary = made.folder / "canary"
    names = list(PAYLOADS) if large else ["pickle, protocol 4 (.pkl)", "Keras with a Lambda layer (.keras)"]
    for name in names:
        data, run = PAYLOADS[name](canary), made.folder / "copy"
        shutil.copytree(made.run, run)
        (run / "model" / "manifest.json").write_bytes(data)
        done = made.tlcli("predict", "--run", run, IMAGE)
        yield f"predict --run, its manifest a {name}", _refused(done, name, 5, "model.manifest_malformed")
        shutil.rmtree(run)
        own = made.folder / f"own{Path(name.rstrip(')')).suffix}"
        own.write_bytes(data)
        done = made.tlcli("train", "--config", "shapes.yaml", "--set", f"backbone.weights={own.name}")
        code = "model.weights_mismatch" if name.startswith(("HDF5", "Keras")) else "model.weights_format"
        yield f"train, backbone.weights a {name}", _refused(done, name, 5, code)
        done = made.tlcli("predict", "--run", own.name, IMAGE)
        yield f"predict --run, a {name}", _refused(done, name, 2, "usage.run_not_found")
        assert not canary.exists(), f"{name}: code of the file ran"
    yield _controls(made)
    yield from _caches(made, large)


def _controls(made: Trained) -> tuple[str, str]:
    """Class names that would clear the screen and set the window's title."""
    run = made.folder / "copy"
    shutil.copytree(made.run, run)
    path = run / "model" / "manifest.json"
    labels = ["\x1b[2J\x1b]0;a\a", "\x9b2J\r"]
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), "labels": labels})))
    done = made.tlcli("predict", "--run", run, IMAGE, "--top", 2)
    assert done.code == 0, done.err
    assert not set("\x1b\x07\x9b\r") & set(done.out + done.err), done.out
    assert "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}]0;a" in done.out
    shutil.rmtree(run)
    return "predict, class names of control characters", "the same answers, these characters written out"


def _caches(made: Trained, large: bool) -> Iterator[tuple[str, str]]:
    """A cache whose files were changed after they were written: recomputed, with the same answers."""
    right = _probabilities(made.tlcli("predict", IMAGE, "--json"))
    graph: dict[str, Callable[[Path], object]] = {
        "the converted graph (model.xml) is garbage": lambda folder: _garbage(folder, "model.xml"),
        "its numbers (model.bin) are garbage": lambda folder: _garbage(folder, "model.bin"),
        "its digests are 100,000 lists in each other": lambda folder: _text(folder, "[" * 100_000),
    }  # each takes a conversion of 10 s
    compiled: dict[str, Callable[[Path], object]] = {
        "the compiled graph is garbage": lambda folder: _garbage(folder, "*.blob"),
        "its digests are a list": lambda folder: _text(folder, "[]"),
    }
    kinds = {"backbones": graph if large else dict(list(graph.items())[:1]), "compiled": compiled}
    for folder, changes in kinds.items():
        for name, change in changes.items():
            cache = made.folder / "changed"
            shutil.copytree(made.cache, cache)
            if folder == "backbones":  # or the compiled one would do
                shutil.rmtree(cache / "compiled")
            change(cache / folder)
            done = made.tlcli("predict", IMAGE, "--json", cache=cache)
            assert _probabilities(done) == right, f"{name}: other answers"
            shutil.rmtree(cache)
            yield f"predict, in the cache {name}", "recomputed: the same answers"
    for sealed_too in (False, True):
        cache = made.folder / "changed"
        shutil.copytree(made.cache, cache)
        shutil.rmtree(cache / "backbones")
        shutil.rmtree(cache / "compiled")
        for path in (cache / "weights").glob("*/*.safetensors"):
            path.write_bytes(path.read_bytes()[:-1] + b"!")
            if sealed_too:
                path.with_name("digests.json").write_text(json.dumps({path.name: sha256_file(path)}))
        done = made.tlcli("predict", IMAGE, "--json", cache=cache)
        if sealed_too:
            came = _refused(done, "weights", 5, "model.weights_changed")
            yield "predict, in the cache other weights, and their digest", came
        else:
            assert _probabilities(done) == right, "other weights: other answers"
            yield "predict, in the cache other weights", "recomputed: the same answers"
        shutil.rmtree(cache)


def _garbage(folder: Path, name: str) -> None:
    for path in folder.glob(f"*/{name}"):
        path.write_bytes(b"garbage" * 1000)


def _text(folder: Path, text: str) -> None:
    for path in folder.glob("*/digests.json"):
        path.write_text(text)


def moved(made: Trained) -> Iterator[tuple[str, str]]:
    """A run in another folder with an empty cache, and one whose weights are unavailable there."""
    right = _probabilities(made.tlcli("predict", IMAGE, "--json"))
    elsewhere, cache = made.folder / "elsewhere" / "a run", made.folder / "empty"
    shutil.copytree(made.run, elsewhere)
    done = made.tlcli("predict", "--run", elsewhere, IMAGE, "--json", cache=cache)
    assert _probabilities(done) == right, "a run that was moved: other answers"
    yield "predict with a run that was moved, and an empty cache", "the same answers"
    shutil.rmtree(cache)
    _with_weights(elsewhere, "own.safetensors")
    done = made.tlcli("predict", "--run", elsewhere, IMAGE, cache=cache)
    came = _refused(done, "moved", 5, "model.weights_not_found")
    yield "predict with a run that was moved without its own weights", came
    _with_weights(elsewhere, "imagenet")
    nowhere = {
        "KERAS_HOME": str(made.folder / "keras"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = made.tlcli("predict", "--run", elsewhere, IMAGE, cache=cache, environment=nowhere)
    came = _refused(done, "moved", 4, "network.weights_unavailable")
    yield "predict with a run that was moved, without a network for its ImageNet weights", came


def _with_weights(run: Path, weights: str) -> None:
    path = run / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["backbone"]["weights"] = weights
    path.write_text(json.dumps(sealed(manifest)))
