"""The core schema of YAML 1.2 on PyYAML, which implements 1.1; with limits of depth and size."""

import re
from typing import Any, Self

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

_MAX_DEPTH, _MAX_VALUES = 20, 20_000
"""Far above any config in use; without them a chain of aliases could stand for billions of values."""


class WrittenInt(int):
    """An integer that remembers how it was written, as a message to the person who wrote it needs."""

    written: str

    def __new__(cls, value: int, written: str) -> Self:
        """The number ``value``."""
        number = super().__new__(cls, value)
        number.written = written
        return number


class WrittenFloat(float):
    """Like :class:`WrittenInt`."""

    written: str

    def __new__(cls, value: float, written: str) -> Self:
        """The number ``value``."""
        number = super().__new__(cls, value)
        number.written = written
        return number


class Loader(yaml.SafeLoader):
    """Loads YAML 1.2: ``1e-3`` is a number; ``no``, ``1:30`` and ``2020-01-01`` are strings."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._count = 0
        self._sizes: dict[yaml.Node | None, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Composes a node, and counts levels and values; an alias counts as its target, and as too many inside it."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias, before = self.check_event(yaml.AliasEvent), self._count
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ComposerError(None, None, f"nested more than {_MAX_DEPTH} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._count += self._sizes.get(node, _MAX_VALUES) if is_alias else 1
        if self._count > _MAX_VALUES:
            raise ComposerError(None, None, f"more than {_MAX_VALUES:,} values", mark)
        self._sizes.setdefault(node, self._count - before)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Constructs a value; gives an invalid one its place: ``!!int x``, a surrogate, a number of 5,000 digits."""
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, str) and b"\0" in value.encode():  # which raises for a surrogate
                raise ValueError("a text cannot contain a NUL character")
        except (LookupError, ValueError) as error:
            raise ConstructorError(None, None, f"not a value: {error}", node.start_mark) from error
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping whose keys are text as written: 010 and 1e3 may be names of classes."""
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = f"{_YAML}str"
        return super().construct_mapping(node, deep)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Constructs an integer: 010 is ten, 0o10 eight, 0x10 sixteen."""
        text = str(self.construct_scalar(node))
        return WrittenInt(int(text, 0 if text[:2] in ("0x", "0o") else 10), text)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Constructs a floating-point number."""
        return WrittenFloat(super().construct_yaml_float(node), str(self.construct_scalar(node)))


class Dumper(yaml.SafeDumper):
    """Quotes strings that YAML 1.1 or 1.2 would read as another type."""


_CORE = {
    "bool": ("tTfF", r"true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": (
        "-+.0123456789",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    ),
}
"""Scalars of the core schema (YAML 1.2, section 10.3.2) that differ from YAML 1.1: first characters and pattern."""
_YAML = "tag:yaml.org,2002:"
_KEPT = [f"{_YAML}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")]
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_YAML}null", f"{_YAML}merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, (_first, _pattern) in _CORE.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(f"{_YAML}{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))
Loader.yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (*_KEPT, None)}
Loader.add_constructor(f"{_YAML}int", Loader.construct_int)
Loader.add_constructor(f"{_YAML}float", Loader.construct_float)
