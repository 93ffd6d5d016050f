"""The catalogue of errors: literal codes of the right class, and messages and hints that are sentences."""

import re
from collections import defaultdict

import pytest
from tests.torture.bad_config_texts import BAD, BAD_OVERRIDES
from tests.torture.bad_configs import BAD_BYTES

from error_catalogue import _PYDANTIC_MESSAGES, CLASSES, Entry, catalogue, table
from tlcli import errors
from tlcli.config.problems import PYDANTIC_CODES

CATALOGUE = catalogue()
each_module = pytest.mark.parametrize("module", sorted({entry.module for entry in CATALOGUE}))


def made_in(module: str) -> list[Entry]:
    """The errors that a module makes."""
    return [entry for entry in CATALOGUE if entry.module == module]


@each_module
def test_every_error_has_a_literal_code_of_its_class(module: str) -> None:
    for entry in made_in(module):
        assert entry.code, f"{module}:{entry.line}: {entry.error} needs a literal code such as 'data.no_images'"
        allowed = CLASSES[entry.code.partition(".")[0]].__name__
        if entry.error == "BadImageError":
            assert entry.code.startswith("image."), f"{module}:{entry.line}"
        else:
            assert entry.error == allowed, f"{module}:{entry.line}: {entry.code} belongs to {allowed}"


@each_module
def test_messages_and_hints_are_sentences(module: str) -> None:
    for entry in made_in(module):
        where = f"{module}:{entry.line}: {entry.message!r} {entry.hint!r}"
        assert entry.message, where
        for text in (entry.message, entry.hint):
            assert not re.search(r"picture|\ba image\b|\S  +\S", text, re.IGNORECASE), where
        if entry.error == "BadImageError":  # a reason, for a table
            assert not entry.message.endswith("."), where
            continue
        assert re.search(r"[.?}\]]$", entry.message), where
        assert not entry.hint or re.match(r"[A-Z{\[]", entry.hint), where
        assert re.search(r"^$|[.?}\]]$|: (tlcli|pip|\{)[^.]*$", entry.hint), f"{where}: a full stop, or a command"


def test_one_code_has_one_class() -> None:
    kinds = defaultdict(set)
    for entry in CATALOGUE:
        kinds[entry.code].add(entry.error)
    assert {code: found for code, found in kinds.items() if code and len(found) > 1} == {}


def test_every_class_of_errors_has_its_exit_code() -> None:
    kinds: list[type[errors.TlcliError]] = [errors.TlcliError, *errors.TlcliError.__subclasses__()]
    assert {kind.__name__: kind.exit_code for kind in kinds} == {
        "TlcliError": 1, "UsageError": 2, "DataError": 3, "NetworkError": 4, "ModelError": 5, "ResourceError": 6,
        "InterruptError": 1,
    }  # fmt: skip
    assert [errors.InterruptError(number).exit_code for number in (2, 15)] == [130, 143]
    assert set(kinds) == set(CLASSES.values())


def test_codes_of_wrong_configs_are_in_the_catalogue() -> None:
    codes = {code for _, expected in BAD.values() for _, _, code, _ in expected}
    codes |= {code for *_, code, _ in BAD_OVERRIDES.values()} | {code for *_, code in BAD_BYTES.values()}
    assert codes <= {entry.code for entry in CATALOGUE}
    assert set(_PYDANTIC_MESSAGES) == set(PYDANTIC_CODES)


def test_the_table_has_a_row_for_each_code_in_order() -> None:
    rows = re.findall(r"^\| `([^`]*)` \| (\S.*?) \| (.*?) \| (.*?) \|$", table(CATALOGUE), re.MULTILINE)
    assert [code for code, *_ in rows] == sorted({entry.code for entry in CATALOGUE if entry.code})
    messages = {code: message for code, _, message, _ in rows}
    assert "{path}" in messages["config.unreadable"]
    assert "{" in messages["internal.bug"]
