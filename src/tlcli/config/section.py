"""What all sections of a config have in common."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from tlcli.system.addresses import is_remote, scheme_of, shown_address
from tlcli.system.remote.path import RemotePath

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""The range that NumPy, scikit-learn and Keras accept."""
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


class Section(BaseModel):
    """Strict ("3" is no number), frozen, without unknown keys; descriptions are the docstrings below the fields."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


def expand(value: object) -> object:
    """Expands ``~`` and ``$VAR`` in a path; anything but text is left to the type check."""
    if not isinstance(value, str) or ("$" in value and Path(value).is_absolute() and os.path.lexists(value)):
        return value  # what exists by this very name needs no expansion, even with a $ in it
    if scheme := scheme_of(value):
        raise PydanticCustomError(
            "address_as_path",
            "A path of this machine is needed, not an address ({scheme}://). Copy the files here first, or give an "
            "archive on the web as a source: url: https://...",
            {"scheme": scheme},
        )
    for match in _VARIABLE.finditer(value):
        name = match.group(1) or match.group(2)
        if name not in os.environ:
            raise PydanticCustomError(
                "unset_variable", "The environment variable {name} is not set.", {"name": f"${name}"}
            )
    try:
        expanded = os.path.expandvars(Path(value).expanduser() if value else "")
    except RuntimeError as error:  # ~name of an unknown user
        raise PydanticCustomError(
            "unknown_user", "There is no home directory for {name}.", {"name": Path(value).parts[0]}
        ) from error
    if not expanded.strip():
        raise PydanticCustomError("empty_path", "A path cannot be empty.")
    return expanded


def _path_or_address(value: object, check: ValidatorFunctionWrapHandler) -> Path:
    """An address of images as a remote path; anything else as :func:`expand` gives it."""
    if isinstance(value, RemotePath):
        return value
    if not isinstance(value, str) or not is_remote(value):
        path: Path = check(expand(value))
        return path
    if shown_address(value) != value.partition("#")[0]:
        raise PydanticCustomError(
            "password_in_url",
            "An address without user, password and what follows ? is allowed, as it is written into every run. Stores "
            "take credentials from the environment; a manifest may hold signed addresses.",
        )
    return RemotePath.of(value.rstrip("/"))


def is_encoding(value: str) -> str:
    """Checks that a text is the name of a text encoding."""
    try:
        b"".decode(value)
    except (LookupError, ValueError) as error:  # unknown, or no encoding of text; a NUL
        raise PydanticCustomError("unknown_encoding", "Not a text encoding, such as utf-8 or cp1252.") from error
    return value


ExpandedPath = Annotated[Path, BeforeValidator(expand, json_schema_input_type=str)]
"""A path relative to the working directory, with ``~`` and ``$VAR`` expanded."""
ImagesPath = Annotated[
    Path,
    WrapValidator(_path_or_address, json_schema_input_type=str),
    PlainSerializer(str, return_type=str, when_used="json-unless-none"),
]
"""The same, or an address that images are read from."""
