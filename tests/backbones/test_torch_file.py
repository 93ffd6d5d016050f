"""Files in PyTorch's formats are written here as PyTorch writes them, by pickling with persistent ids."""

import builtins
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.backbones.torch_pickles import (
    Calls,
    Storage,
    Tensor,
    _rebuild_parameter,
    pickled,
    write,
    write_zip,
)

from tlcli.backbones.torch_file import read_tensors
from tlcli.errors import ModelError

if TYPE_CHECKING:
    pass


def floats(n: int, key: str = "1") -> Storage:
    return Storage(key, np.arange(n, dtype="<f4") + 0.5)


def good(path: Path) -> Path:
    storage = floats(6)
    return write(path, OrderedDict(kernel=Tensor(storage, (2, 3), (3, 1))), [storage])


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_tensors(path)
    assert caught.value.code == "model.weights_malformed"
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_tensors_come_back_as_stored(tmp_path: Path) -> None:
    weights, count = floats(12, "11"), Storage("7", np.array([2**40, -3], "<i8"))
    state = OrderedDict(
        {
            "kernel": Tensor(weights, (2, 3), (3, 1)),
            "permuted": Tensor(weights, (3, 2), (1, 3)),
            "later": Tensor(weights, (2, 2, 1), (2, 1, 1), 8),
            "spaced": Tensor(weights, (4,), (3,), 1),
            "scalar": Tensor(weights, (), (), 5),
            "counts": Tensor(count, (2,), (1,)),
        }
    )
    tensors = read_tensors(write(tmp_path / "a.pth", state, [count, weights]))
    assert list(tensors) == list(state)
    data = weights.data
    assert tensors["kernel"].tolist() == data[:6].reshape(2, 3).tolist()
    assert tensors["permuted"].tolist() == data[:6].reshape(2, 3).T.tolist()
    assert tensors["later"].tolist() == data[8:12].reshape(2, 2, 1).tolist()
    assert tensors["spaced"].tolist() == data[[1, 4, 7, 10]].tolist()
    assert tensors["scalar"].shape == ()
    assert tensors["scalar"].item() == 5.5
    assert tensors["counts"].tolist() == [2**40, -3]
    assert tensors["kernel"].dtype == np.float32
    assert tensors["counts"].dtype == np.int64


def test_tensors_that_share_a_storage_are_copies_of_their_own(tmp_path: Path) -> None:
    storage = floats(4)
    state = OrderedDict(a=Tensor(storage, (4,), (1,)), b=Tensor(storage, (4,), (1,)))
    tensors = read_tensors(write(tmp_path / "a.pth", state, [storage]))
    tensors["a"][:] = 0
    assert tensors["b"].tolist() == [0.5, 1.5, 2.5, 3.5]


def test_the_attributes_that_a_state_dict_carries_do_no_harm(tmp_path: Path) -> None:
    storage = floats(2)
    state = OrderedDict(a=Tensor(storage, (2,), (1,)))
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    assert read_tensors(write(tmp_path / "a.pth", state, [storage]))["a"].tolist() == [0.5, 1.5]


@pytest.mark.parametrize("place", ["magic", "protocol", "machine", "state", "value", "keys"])
@pytest.mark.parametrize("function", [os.system, builtins.eval, builtins.exec, os.mkdir])
def test_code_named_in_the_file_never_runs(tmp_path: Path, function: Any, place: str) -> None:
    proof = tmp_path / "proof"
    code = f"__import__('os').mkdir({str(proof)!r})"
    argument = {os.system: f"mkdir {proof}", os.mkdir: str(proof)}.get(function, code)
    bomb, storage = Calls(function, argument), floats(2)
    pickle.loads(pickle.dumps(bomb))  # it does go off where it may
    proof.rmdir()

    state = OrderedDict(a=Tensor(storage, (2,), (1,)))
    path = tmp_path / "a.pth"
    if place == "value":
        write(path, OrderedDict(a=state["a"], b=bomb), [storage])
    elif place == "state":
        write(path, bomb, [storage])
    else:
        write(path, state, [storage], **{place: bomb})  # type: ignore[arg-type]
    assert f".{function.__name__} " in refused(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "name",
    ["torch\nComplexFloatStorage", "torch\ndevice", "collections\ndeque", "builtins\ngetattr", "collections\nabc.Set"],
)
def test_names_that_are_no_tensors_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.pth", None, [], state_bytes=f"c{name}\n.".encode())
    assert f"{name.replace(chr(10), '.')} is not allowed" in refused(path)


def test_a_pickle_that_asks_for_64_gigabytes_is_refused(tmp_path: Path) -> None:
    state = b"\x80\x02}r\xff\xff\xff\xff."  # LONG_BINPUT 4294967295
    assert "LONG_BINPUT 4294967295 is not allowed" in refused(write(tmp_path / "a.pth", None, [], state_bytes=state))


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


_SET_DTYPE = b"N}" + _text("dtype") + _text("<i4") + b"s\x86b"  # BUILD with (None, {"dtype": "<i4"}): setattr


@pytest.mark.parametrize(
    "target", ["torch\nFloatStorage\n", "torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n"]
)
@pytest.mark.parametrize("attribute", ["dtype", "__call__", "__new__", "__defaults__"])
@pytest.mark.parametrize("slots", [True, False])
def test_a_file_cannot_change_how_later_files_are_read(
    tmp_path: Path, target: str, attribute: str, slots: bool
) -> None:
    before = read_tensors(good(tmp_path / "good.pth"))["kernel"]
    value = b"K\x01\x85" if attribute == "__defaults__" else _text("<i4")
    attributes = b"}" + _text(attribute) + value + b"s"
    build = (b"N" + attributes + b"\x86b") if slots else attributes + b"b"  # by setattr, or into __dict__
    refused(write(tmp_path / "a.pth", None, [], state_bytes=b"\x80\x02c" + target.encode() + build + b"."))
    after = read_tensors(tmp_path / "good.pth")["kernel"]
    assert after.dtype == before.dtype == np.float32
    assert after.tolist() == before.tolist()


def test_a_tensor_cannot_be_altered_by_the_file_after_it_was_checked(tmp_path: Path) -> None:
    storage = floats(4)
    whole = pickled(Tensor(storage, (2,), (1,)))[2:-1]  # less PROTO and STOP
    altered = whole + b"}" + _text("shape") + b"(J\xff\xff\xff\x7ft" + b"sb"
    state = b"\x80\x02}" + _text("a") + altered + b"s."
    refused(write(tmp_path / "a.pth", None, [storage], state_bytes=state))


@pytest.mark.parametrize("call", [b"c#)R", b"c#)\x81", b"(c#o", b"(i#"], ids=["REDUCE", "NEWOBJ", "OBJ", "INST"])
def test_a_storage_made_by_calling_its_type_is_no_tensor(tmp_path: Path, call: bytes) -> None:
    refused(
        write(
            tmp_path / "a.pth",
            None,
            [],
            state_bytes=b"\x80\x02}" + _text("a") + call.replace(b"#", b"torch\nFloatStorage\n") + b"s.",
        )
    )


@pytest.mark.parametrize(
    "state",
    [
        OrderedDict(a=5),
        OrderedDict(a=None),
        OrderedDict(a=OrderedDict()),
        OrderedDict(a=floats(2)),
        [1, 2],
        7,
        None,
        "text",
        OrderedDict(a=Tensor(3, (1,), (1,))),
        OrderedDict(a=Tensor("1", (1,), (1,))),
    ],
    ids=[
        "number",
        "none",
        "dict",
        "storage",
        "list",
        "bare number",
        "bare none",
        "text",
        "number of axes",
        "name of axes",
    ],
)
def test_what_is_no_tensor_is_refused(tmp_path: Path, state: object) -> None:
    refused(write(tmp_path / "a.pth", state, [floats(2)]))


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ((7,), (1,), 0),
        ((2, 4), (3, 1), 0),
        ((6,), (1,), 1),
        ((1,), (1,), 6),
        ((2,), (6,), 0),
        ((2,), (-1,), 3),
        ((1,), (1,), -1),
        ((-1,), (1,), 0),
        ((2, -3), (1, 1), 0),
        ((0,), (1,), 0),
        ((2**62,), (0,), 0),  # a stride of 0 repeats one element without end
        ((1000, 1000, 1000), (0, 0, 0), 0),
        ((2**64,), (1,), 0),
        ((2,), (2**64,), 0),
        ((2,), (1,), 2**64),
        ((2,), (1, 1), 0),
        ((2, 2), (1,), 0),
        ((2.0,), (1,), 0),
        (("2",), (1,), 0),
        (5, 1, 0),
        ((2,), (1,), "0"),
        ((2,), (1,), None),
    ],
    ids=str,
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path, shape: object, stride: object, offset: object) -> None:
    storage = floats(6)
    state = OrderedDict(a=Tensor(storage, shape, stride, offset))
    assert "cannot be read as a file of tensors" in refused(write(tmp_path / "a.pth", state, [storage]))


@pytest.mark.parametrize("count", [0, 5, 7, 2**31, 2**40, 2**62, 2**64 - 1])
def test_a_storage_of_another_length_than_declared_is_refused(tmp_path: Path, count: int) -> None:
    storage = floats(6)
    state = OrderedDict(a=Tensor(storage, (1,), (1,)))
    assert "6 elements" in refused(write(tmp_path / "a.pth", state, [storage], counts={"1": count}))


@pytest.mark.parametrize("count", [7, 2**31, 2**40, 2**62, 2**64 - 1])
def test_a_storage_longer_than_the_file_is_refused(tmp_path: Path, count: int) -> None:
    storage = floats(6)
    storage.elements = count
    state = OrderedDict(a=Tensor(storage, (1,), (1,)))
    assert f"{count} elements" in refused(write(tmp_path / "a.pth", state, [storage], counts={"1": count}))


@pytest.mark.parametrize("elements", [-6, "six", None, 6.7e300])
def test_a_declared_length_that_is_no_count_is_refused(tmp_path: Path, elements: object) -> None:
    storage = floats(6)
    storage.elements = elements
    refused(write(tmp_path / "a.pth", OrderedDict(a=Tensor(storage, (1,), (1,))), [storage]))


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = good(tmp_path / "good.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


def test_one_flipped_byte_ends_in_tensors_or_a_refusal(tmp_path: Path) -> None:
    whole = good(tmp_path / "good.pth").read_bytes()
    path = tmp_path / "flipped.pth"
    read = 0
    for place in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            try:
                tensors = read_tensors(path)
            except ModelError:
                continue
            assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
            read += 1
    assert read >= 24  # the four bytes of each of the six numbers are anybody's


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("magic", 1, "PyTorch's formats"),
        ("magic", "text", "PyTorch's formats"),
        ("protocol", 1002, "PyTorch's formats"),
        ("machine", {"little_endian": False}, "big-endian"),
        ("machine", {}, "cannot be read"),
        ("machine", 5, "cannot be read"),
        ("keys", ["1", "2"], "cannot be read"),
        ("keys", [], "cannot be read"),
        ("keys", [["1"]], "cannot be read"),
        ("keys", 5, "cannot be read"),
    ],
)
def test_wrong_surroundings_are_refused(tmp_path: Path, field: str, value: object, said: str) -> None:
    storage = floats(2)
    state = OrderedDict(a=Tensor(storage, (2,), (1,)))
    assert said in refused(write(tmp_path / "a.pth", state, [storage], **{field: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "storage",
    [
        Storage("1", np.zeros(2, "<f4"), view=("2", 0, 1)),
        Storage("1", np.zeros(2, "<f4"), kind="module"),
        Storage("1", np.zeros(2, "<c8")),
    ],
    ids=["view", "kind", "complex"],
)
def test_storages_of_other_kinds_are_refused(tmp_path: Path, storage: Storage) -> None:
    refused(write(tmp_path / "a.pth", OrderedDict(a=Tensor(storage, (2,), (1,))), [storage]))


def test_persistent_ids_of_another_form_are_refused(tmp_path: Path) -> None:
    for state in (b"Psomething\n.", b"\x80\x02K\x05Q.", b"\x80\x02)Q.", b"\x80\x02NQ."):
        refused(write(tmp_path / "a.pth", None, [], state_bytes=state))


@pytest.mark.parametrize(
    "state",
    [
        b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns.",  # a key: hash() of it overflows the stack, and Python dies
        b"\x80\x02}"
        + _text("a")
        + b"("
        + _text("storage")
        + b"ctorch\nFloatStorage\nN"
        + b"\x85" * 5000
        + b"NK\x01NtQs.",
    ],
    ids=["key", "name of a storage"],
)
def test_tuples_within_tuples_without_end_are_refused(tmp_path: Path, state: bytes) -> None:
    refused(write(tmp_path / "a.pth", None, [], state_bytes=state))


def test_endless_copies_of_a_storage_are_refused(tmp_path: Path) -> None:
    storage = floats(1000)
    state = OrderedDict({str(number): Tensor(storage, (1000,), (1,)) for number in range(4)})
    assert len(read_tensors(write(tmp_path / "a.pth", state, [storage]))) == 4
    state["4"] = Tensor(storage, (1000,), (1,))
    refused(write(tmp_path / "a.pth", state, [storage]))


def test_a_tensor_of_very_many_axes_is_refused(tmp_path: Path) -> None:
    storage = floats(1)
    state = OrderedDict(a=Tensor(storage, (2**2000,) * 2000, (1,) * 2000))
    assert "more than 8 axes" in refused(write(tmp_path / "a.pth", state, [storage]))


# The zip format since version 1.6


def good_state(storage: Storage) -> OrderedDict[str, Tensor]:
    return OrderedDict(kernel=Tensor(storage, (2, 3), (3, 1)))


def test_the_zip_format_gives_the_same_tensors(tmp_path: Path) -> None:
    storage, count = floats(6, "0"), Storage("1", np.array([7], "<i8"))
    state = OrderedDict(kernel=Tensor(storage, (2, 3), (3, 1)), count=Tensor(count, (), ()))
    zipped = read_tensors(write_zip(tmp_path / "a.pth", state, [storage, count], folder="resnet50-0676ba61"))
    before = read_tensors(write(tmp_path / "b.pth", state, [storage, count]))
    assert list(zipped) == list(before) == ["kernel", "count"]
    assert all(np.array_equal(zipped[name], before[name]) for name in before)


@pytest.mark.parametrize("writing", [write, write_zip])
@pytest.mark.parametrize("keys", [("state_dict",), ("model",), ("net", "state_dict"), ("model_state_dict",)])
def test_the_state_in_a_checkpoint_is_found_and_the_optimiser_skipped(
    tmp_path: Path, writing: Any, keys: tuple[str, ...]
) -> None:
    storage, momentum = floats(6, "0"), floats(4, "1")
    state: object = good_state(storage)
    for key in reversed(keys):
        state = {
            "epoch": 3, "best": 0.5, "done": False, key: state,
            "optimizer": {"state": {0: {"exp_avg": Tensor(momentum, (4,), (1,))}}, "param_groups": [{"lr": 0.1}]},
        }  # fmt: skip
    tensors = read_tensors(writing(tmp_path / "a.pth", state, [momentum, storage]))
    assert list(tensors) == ["kernel"]
    assert np.array_equal(tensors["kernel"].ravel(), storage.data)


@pytest.mark.parametrize("writing", [write, write_zip])
def test_half_precision_and_parameters_are_read(tmp_path: Path, writing: Any) -> None:
    numbers = np.array([1.5, -2, 0.25], "<f4")
    half, brain = Storage("0", numbers.astype("<f2")), Storage("1", (numbers.view("<u4") >> 16).astype("<u2"))
    parameter = Calls(_rebuild_parameter, Tensor(half, (3,), (1,)), True, OrderedDict())
    tensors = read_tensors(writing(tmp_path / "a.pth", {"a": parameter, "b": Tensor(brain, (3,), (1,))}, [half, brain]))
    assert tensors["a"].dtype == np.float16
    assert tensors["b"].dtype == np.float32
    assert tensors["a"].tolist() == tensors["b"].tolist() == numbers.tolist()


def test_a_zip_file_runs_no_code(tmp_path: Path) -> None:
    storage = floats(6, "0")
    bomb = Calls(os.mkdir, str(tmp_path / "proof"))
    for state in (bomb, {"state_dict": good_state(storage), "args": bomb}):
        refused(write_zip(tmp_path / "a.pth", state, [storage]))
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("members", [{"data/0": b""}, {"data/0": bytes(20)}, {"byteorder": b"big"}, {"data.pkl": b""}])
def test_members_of_another_content_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    storage = floats(6, "0")
    refused(write_zip(tmp_path / "a.pth", good_state(storage), [storage], members=members))


def test_a_zip_file_without_its_storage_or_state_is_refused(tmp_path: Path) -> None:
    storage = floats(6, "0")
    refused(write_zip(tmp_path / "a.pth", good_state(storage), []))
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    refused(tmp_path / "a.pth")
    with zipfile.ZipFile(write_zip(tmp_path / "a.pth", good_state(storage), [storage]), "a") as archive:
        archive.writestr("other/data.pkl", pickled(OrderedDict()))
    refused(tmp_path / "a.pth")


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    storage = Storage("0", np.zeros(1 << 20, "<f4"))
    state = OrderedDict(a=Tensor(storage, (1 << 20,), (1,)))
    refused(write_zip(tmp_path / "a.pth", state, [storage], compression=zipfile.ZIP_DEFLATED))


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A directory may list the same 6,000 bytes again and again."""
    storages = [floats(1500, str(number)) for number in range(9)]
    state = OrderedDict({storage.key: Tensor(storage, (1500,), (1,)) for storage in storages})
    path = write_zip(tmp_path / "a.pth", state, storages[:1])
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.getinfo("archive/data/0")
        for number in range(1, 9):
            other = copy(first)
            other.filename = f"archive/data/{number}"
            archive.filelist.append(other)
        archive._didModify = True  # type: ignore[attr-defined]
    assert len(zipfile.ZipFile(path).infolist()) == 12
    refused(path)


def test_a_zip_file_cut_short_or_flipped_ends_in_tensors_or_a_refusal(tmp_path: Path) -> None:
    storage = floats(6, "0")
    whole = write_zip(tmp_path / "good.pth", good_state(storage), [storage]).read_bytes()
    path = tmp_path / "a.pth"
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place])
        refused(path)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(ModelError):
            assert set(read_tensors(path)) == {"kernel"}


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"GIF89a", b"\x80\x04.", b"\x93NUMPY"])
def test_files_of_other_kinds_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    refused(path)
