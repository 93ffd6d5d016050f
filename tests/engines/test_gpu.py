"""GPUs, without one: what is asked, what auto chooses, how large batches are, and what happens when memory is full."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.engines.opened import rows_of

from tlcli.backbones.blocks import one_block
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights, find_weights
from tlcli.diagnostics import checks
from tlcli.diagnostics.checks import Section
from tlcli.engines import gpu, keras
from tlcli.engines.batch_size import activation_bytes, choose_batch_size, is_out_of_memory
from tlcli.engines.choice import choose_engine, describe_engine, explain_choice
from tlcli.engines.gpu import Gpu, find_gpu, search_gpu, unused_note
from tlcli.engines.interface import open_engine
from tlcli.errors import ModelError
from tlcli.features.key import feature_key
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.progress import Progress
from tlcli.system import gpu as device_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

CARD = Gpu("tensorflow", "Card 1", 16 << 30, has_bf16=True)
OLD = Gpu("jax", "Card 0", 8 << 30, has_bf16=False, count=2)
SIZE = 32


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    search_gpu.cache_clear()
    yield
    search_gpu.cache_clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> "Callable[..., list[str]]":
    """A machine with a device file, whose backends answer as is said; the list of those that were asked."""

    def make(**answers: Gpu | None) -> list[str]:
        asked: list[str] = []

        def ask(backend: str) -> Gpu | None:
            asked.append(backend)
            return answers[backend]

        monkeypatch.setattr(gpu, "gpu_devices", lambda: ("/dev/nvidia0",))
        monkeypatch.setattr(gpu, "_ask", ask)
        monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: name in answers)  # type: ignore[attr-defined]
        monkeypatch.setattr(gpu.metadata, "version", lambda name: "1.0")  # type: ignore[attr-defined]
        return asked

    return make


def test_a_machine_without_device_files_asks_no_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device_files, "_DEV", tmp_path)
    monkeypatch.setattr(gpu, "_ask", lambda _: pytest.fail("asked"))
    assert search_gpu() == gpu.GpuSearch()
    assert unused_note(search_gpu()) == ""


@pytest.mark.parametrize(
    ("names", "hidden", "found"),
    [
        (["nvidia0", "nvidia1", "nvidiactl", "null"], None, ["nvidia0", "nvidia1"]),
        (["kfd", "dri"], None, ["kfd"]),
        (["dxg"], None, ["dxg"]),
        (["nvidia0"], "0", ["nvidia0"]),
        (["nvidia0"], "-1", []),
        (["nvidia0"], "", []),
        ([], None, []),
    ],
)
def test_device_files_are_found_unless_a_variable_hides_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: list[str], hidden: str | None, found: list[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(device_files, "_DEV", tmp_path)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert [Path(one).name for one in device_files.gpu_devices()] == found


def test_backends_are_asked_in_order_once_and_their_answers_kept(machine: Any) -> None:
    asked = machine(tensorflow=None, jax=OLD, torch=CARD)
    assert find_gpu() == OLD
    assert asked == ["tensorflow", "jax"]
    search_gpu.cache_clear()
    assert find_gpu() == OLD
    assert asked == ["tensorflow", "jax"]
    assert search_gpu(again=True).gpu == OLD
    assert asked == ["tensorflow", "jax"] * 2


def test_a_gpu_that_no_backend_sees_is_said(machine: Any) -> None:
    machine(tensorflow=None)
    assert search_gpu().is_unused
    assert "/dev/nvidia0" in unused_note(search_gpu())
    found = Section("engine")
    checks.engine(found)
    assert [one.code for one in found.warnings] == ["model.gpu_unused"]


def test_doctor_names_the_card(machine: Any) -> None:
    machine(tensorflow=CARD)
    found = Section("engine")
    checks.engine(found)
    assert {name: found.facts[name] for name in ("engine", "precision", "gpu", "backend", "gpu_memory_bytes")} == {
        "engine": "keras", "precision": "bf16", "gpu": "Card 1", "backend": "tensorflow", "gpu_memory_bytes": 16 << 30,
    }  # fmt: skip
    assert not found.warnings


@pytest.mark.parametrize(
    ("engine", "precision", "card", "expected"),
    [
        ("auto", "auto", CARD, EngineChoice("keras", "bf16", "1.0", "tensorflow", True)),
        ("auto", "auto", OLD, EngineChoice("keras", "f16", "1.0", "jax", True)),
        ("keras", "auto", OLD, EngineChoice("keras", "f16", "1.0", "jax", True)),
        ("auto", "f32", CARD, EngineChoice("keras", "f32", "1.0", "tensorflow", True)),
        ("auto", "f16", CARD, EngineChoice("keras", "f16", "1.0", "tensorflow", True)),
        ("openvino", "f32", CARD, EngineChoice("openvino", "f32", "1.0")),
    ],
)
def test_auto_takes_a_gpu_in_the_arithmetic_that_it_has(
    machine: Any, engine: str, precision: Any, card: Gpu, expected: EngineChoice
) -> None:
    machine(**{"tensorflow": None, card.backend: card, "openvino": None})
    assert choose_engine(engine, precision) == expected
    if expected.on_gpu:
        assert card.name in describe_engine(expected)
        assert card.name in explain_choice(expected)


def test_int8_stays_with_openvino_beside_a_gpu(machine: Any) -> None:
    machine(tensorflow=CARD, openvino=None)
    chosen = choose_engine("auto", "int8")
    assert (chosen.name, chosen.precision, chosen.on_gpu) == ("openvino", "int8", False)


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_float16_is_refused_where_openvino_would_compute_it(engine: str) -> None:
    with pytest.raises(ModelError) as caught:
        choose_engine(engine, "f16")
    assert caught.value.code == "model.f16_needs_keras"


def test_a_backend_that_fails_or_sees_none_has_no_gpu() -> None:
    assert gpu._ask("torch") is None  # not installed: the process fails
    assert gpu._ask("nothing") is None


@pytest.mark.slow
def test_tensorflow_is_asked_in_a_process_of_its_own() -> None:
    assert gpu._ask("tensorflow") is None or find_gpu() is not None


def test_the_key_of_features_names_what_they_were_computed_with() -> None:
    row, preparation = CATALOG["mobilenet_v2"], Preparation((SIZE, SIZE), "squash")
    choices = [
        EngineChoice("openvino", "f32", "1"),
        EngineChoice("openvino", "bf16", "1"),
        EngineChoice("keras", "f32", "1", "tensorflow"),
        EngineChoice("keras", "bf16", "1", "tensorflow"),
        EngineChoice("keras", "f32", "1", "tensorflow", on_gpu=True),
        EngineChoice("keras", "bf16", "1", "tensorflow", on_gpu=True),
        EngineChoice("keras", "f16", "1", "tensorflow", on_gpu=True),
        EngineChoice("keras", "f16", "1", "jax", on_gpu=True),
        EngineChoice("keras", "f16", "1", "torch", on_gpu=True),
    ]
    specs = [BackboneSpec(row, (SIZE, SIZE), Weights(None, "ab" * 32), choice) for choice in choices]
    assert len({feature_key(spec, preparation) for spec in specs}) == len(specs)
    plain = BackboneSpec(row, (SIZE, SIZE), Weights(None, "ab" * 32), EngineChoice("keras", "f32", "1"))
    assert feature_key(plain, preparation) == feature_key(specs[2], preparation)


@pytest.mark.parametrize(
    ("memory", "size", "expected"),
    [(80 << 30, 224, 256), (4 << 30, 224, 128), (1 << 20, 224, 1), (0, 224, 256), (80 << 30, 600, 64)],
)  # fmt: skip
def test_the_batch_follows_the_memory(memory: int, size: int, expected: int) -> None:
    an_image = activation_bytes([(3, 3), (112, 112, 96)], 2)
    assert an_image == 6 * 2 * 112 * 112 * 96
    assert choose_batch_size(memory, an_image, (size, size)) == expected


class Cramped:
    """A model whose memory holds so many images; its feature is the mean level."""

    def __init__(self, most: int) -> None:
        self.most, self.calls = most, list[int]()

    def predict_on_batch(self, levels: "NDArray[np.uint8]") -> "list[NDArray[np.float32]]":
        self.calls.append(len(levels))
        if len(levels) > self.most:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")
        return [levels.mean(axis=(1, 2, 3), dtype=np.float32)[:, None]]


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize(("most", "note_count"), [(16, 0), (5, 2), (0, 4)])
def test_a_full_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch, most: int, note_count: int) -> None:
    model, notes = Cramped(most), Notes()
    monkeypatch.setattr(keras, "of_bytes", lambda model: model)
    decoder, blocks = Decoder(Preparation((4, 4), "squash")), one_block(1)

    def finish(tiles: "list[list[NDArray[np.float32]]]") -> "NDArray[np.float32]":
        return blocks.over_tiles([np.concatenate(row) for row in tiles])

    runner: Any = keras._Batches(model, decoder, finish, 16, notes)
    images = [np.full((4, 4, 3), level, np.uint8) for level in range(50)]
    with closing(runner):
        if most:
            assert rows_of(runner, images)[:, 0].tolist() == list(range(50))
            assert max(model.calls[-3:]) <= most
        else:
            with pytest.raises(RuntimeError):
                runner.submit(Item(images[0])).result()
    assert len(notes.notes) == note_count


def test_other_errors_are_no_full_memory() -> None:
    assert not is_out_of_memory(ValueError("shapes do not match"))
    assert is_out_of_memory(type("ResourceExhaustedError", (Exception,), {})("OOM when allocating"))
    assert is_out_of_memory(type("OutOfMemoryError", (Exception,), {})("CUDA out of memory."))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_an_engine_on_a_gpu_computes_large_batches_and_says_so(
    monkeypatch: pytest.MonkeyPatch, machine: Any, precision: Any
) -> None:
    """The GPU is a CPU here: the features are those of small batches, and the note has the card and the batch."""
    row = CATALOG["mobilenet_v2"]
    weights = find_weights(row, "random")
    monkeypatch.setattr(keras, "find_gpu", lambda: CARD)
    notes, decoder = Notes(), Decoder(Preparation((SIZE, SIZE), "squash"))
    images = [np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8) for seed in range(40)]
    found = []
    for on_gpu in (False, True):
        choice = EngineChoice("keras", precision, "1", "tensorflow", on_gpu)
        with closing(open_engine(BackboneSpec(row, (SIZE, SIZE), weights, choice), decoder, notes)) as engine:
            found.append(rows_of(engine, images))
            assert engine.window == (3 * 256 if on_gpu else 96)
    assert len(notes.notes) == 1
    assert "Card 1" in notes.notes[0]
    assert "256 images" in notes.notes[0]
    centred = [rows - rows.mean(axis=0) for rows in found]
    cosine = (centred[0] * centred[1]).sum() / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1])
    assert cosine > {"f32": 0.999999, "bf16": 0.9}[precision]


def test_the_answer_in_the_cache_is_json(machine: Any, tmp_path: Path) -> None:
    machine(tensorflow=CARD)
    find_gpu()
    (record,) = (tmp_path / "cache" / "gpu").iterdir()
    assert json.loads(record.read_text()) == vars(CARD)
