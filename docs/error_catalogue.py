"""Collects from its source every error that tlcli can raise: code, class, message and hint, for docs/errors.md.

An error is found where it is constructed, with its code as a literal: ``DataError("data.no_images", message, hint)``, a
``Problem`` of a config, a ``PydanticCustomError`` of the config's schema, a ``BadImageError``.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tlcli import errors
from tlcli.config.problems import PYDANTIC_CODES

SOURCE = Path(__file__).parents[1] / "src" / "tlcli"
CODE = re.compile(r"(usage|config|data|image|network|model|resource|internal)\.[a-z0-9_]+|interrupted")
CLASSES: dict[str, type[errors.TlcliError]] = {
    "usage": errors.UsageError,
    "config": errors.UsageError,
    "data": errors.DataError,
    "image": errors.DataError,
    "network": errors.NetworkError,
    "model": errors.ModelError,
    "resource": errors.ResourceError,
    "internal": errors.TlcliError,
    "interrupted": errors.InterruptError,
}
"""The class that the first part of a code stands for."""
_ROOTS = {kind.__name__: kind for kind in CLASSES.values()}
_PYDANTIC_MESSAGES = {
    "config.wrong_type": "Input should be {type}. Received: {received}.",
    "config.out_of_range": "Input should be {limit}. Received: {received}.",
    "config.wrong_length": "Input should have {number} values or {more or fewer}. Received: {received}.",
    "config.wrong_format": "String should match pattern {pattern}. Received: {received}.",
    "config.unknown_choice": "Input should be {choices}. Received: {received}.",
}
"""What pydantic says itself, for each of the codes that stand for its types."""


@dataclass(frozen=True)
class Entry:
    """One place where an error is made."""

    code: str
    """Empty where it is not a literal."""
    error: str
    """The class below TlcliError that decides the exit code; or BadImageError."""
    message: str
    """With {placeholders}."""
    hint: str
    module: str
    line: int

    @property
    def exit_code(self) -> str:
        """The exit code of the process; of an image's error that of predict."""
        if self.error == "InterruptError":
            return "130, 143"
        return str(_ROOTS.get(self.error, errors.DataError).exit_code)


def catalogue(source: Path = SOURCE) -> list[Entry]:
    """All entries, in the order of the modules, then pydantic's own."""
    trees = {}
    for path in sorted(source.rglob("*.py")):
        name = ".".join(path.relative_to(source.parent).with_suffix("").parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    roots, own_init = _classes(trees)
    found = [
        entry
        for module, tree in trees.items()
        for scope, call in _calls(tree, ())
        if (entry := _entry(module, scope, call, roots, own_init)) is not None
    ]
    module = "tlcli.config.problems"
    return found + [Entry(code, "UsageError", _PYDANTIC_MESSAGES[code], "", module, 0) for code in PYDANTIC_CODES]


def _classes(trees: Mapping[str, ast.Module]) -> tuple[dict[str, str], set[str]]:
    """Subclasses of TlcliError, each with the class that decides its exit code; and those with an own __init__."""
    roots, own_init = {name: name for name in _ROOTS}, {"InterruptError"}
    for _ in range(3):  # levels of inheritance
        for node in (node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            base = next((roots[ast.unparse(base)] for base in node.bases if ast.unparse(base) in roots), None)
            if base and node.name not in roots:
                roots[node.name] = base
            if base and any(isinstance(part, ast.FunctionDef) and part.name == "__init__" for part in node.body):
                own_init.add(node.name)
    return roots, own_init


Scope = tuple[ast.AST, ...]


def _calls(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.Call]]:
    """Every call, with the classes and functions that it is in."""
    for child in ast.iter_child_nodes(node):
        inner = (*scope, child) if isinstance(child, (ast.ClassDef, ast.FunctionDef)) else scope
        if isinstance(child, ast.Call):
            yield inner, child
        yield from _calls(child, inner)


def _entry(
    module: str, scope: Scope, call: ast.Call, roots: Mapping[str, str], own_init: set[str]
) -> Entry | None:  # fmt: skip
    name = ast.unparse(call.func).rpartition(".")[2]
    arguments = [*call.args]
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if ast.unparse(call.func) == "super().__init__":
        name = next((part.name for part in reversed(scope) if isinstance(part, ast.ClassDef)), "")
        if name not in roots or (name in _ROOTS and name != "InterruptError"):
            return None
    elif name in own_init and name != "TlcliError":
        return None  # its code is that of its own __init__
    prefix = ""
    if "custom_error_type" in keywords:
        prefix, arguments = "config.", [keywords["custom_error_type"], keywords["custom_error_message"]]
    elif name == "PydanticCustomError" and module.startswith("tlcli.config."):
        prefix = "config."
    if arguments and isinstance(arguments[0], ast.Starred):
        return None  # the error of another process, which this one raises again
    code = _literal(arguments[0] if arguments else keywords.get("code"))
    is_code = CODE.fullmatch(prefix + code) is not None
    is_known = name in roots or name == "BadImageError" or prefix or (name == "Problem" and is_code)
    if not is_known and not (is_code and len(arguments) > 1 and _is_text(arguments[1])):
        return None  # else a class that is held in a variable, or a record that an error is made of later
    if name == "Problem":  # code, place, key, message
        arguments = [arguments[0], arguments[3]]
    message, hint = (
        _template(arguments[n], scope)
        if n < len(arguments)
        else _template(keywords[key], scope)
        if key in keywords
        else ""
        for n, key in ((1, "message"), (2, "hint"))
    )
    if prefix:
        hint = ""  # the third argument is a context
    family = CLASSES.get((prefix + code).partition(".")[0], errors.TlcliError).__name__
    error = name if name == "BadImageError" else roots.get(name, family)
    return Entry(prefix + code if is_code else "", error, message, hint, module, call.lineno)


def _literal(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _template(node: ast.expr, scope: Scope, depth: int = 0) -> str:  # noqa: PLR0911 - one for each kind of node
    """Text with {placeholders}, as far as it is literal."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part, scope, depth) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _template(node.value, scope, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left, scope, depth) + _template(node.right, scope, depth)
    if isinstance(node, ast.IfExp):
        choices = [_template(choice, scope, depth) for choice in (node.body, node.orelse)]
        return " or ".join(choice for choice in choices if choice) if all(choices) else f"[{''.join(choices)}]"
    if isinstance(node, ast.Name) and depth < 3:
        value = _assigned(node.id, node.lineno, scope)
        if value is not None and _is_text(value):
            return _template(value, scope, depth + 1)
    return f"{{{_described(node)}}}"


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    return isinstance(node, ast.JoinedStr) or _literal(node) != ""


def _assigned(name: str, line: int, scope: Scope) -> ast.expr | None:
    """What a local variable was last set to, above a line."""
    value, inner = None, ast.walk(scope[-1]) if scope else ()
    above = [node for node in inner if isinstance(node, ast.Assign) and node.lineno <= line]
    for node in sorted(above, key=lambda node: node.lineno):
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == name:
            value = node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
            value = next((one for to, one in pairs if isinstance(to, ast.Name) and to.id == name), value)
    return value


_CLEANING = {"strip", "rstrip", "lstrip", "removesuffix", "removeprefix", "splitlines", "split", "lower"}


def _described(node: ast.AST) -> str:  # noqa: PLR0911 - one for each kind of node
    """A readable name for a value: ``", ".join(allowed)`` and ``sorted(allowed)`` are "allowed"."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").replace("_", " ").lower()
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").replace("_", " ").lower()
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CLEANING:
        return _described(node.func.value)
    if isinstance(node, ast.Call):
        is_method = isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Constant)
        return _described(node.func if is_method or not node.args else node.args[0])
    if isinstance(node, (ast.GeneratorExp, ast.ListComp, ast.SetComp)):
        return _described(node.generators[0].iter)
    inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return _described(inner[0]) if inner else "..."


def table(entries: list[Entry]) -> str:
    """docs/errors.md: one row for each code."""
    lines = [
        "# Errors",
        "",
        "Every error has a stable code. stderr has `Error [code]: message` and `Hint: ...`; `--json` adds to stdout",
        '`{"error": {"code", "message", "hint", "exit_code"}}`. An invalid config is one error, `config.invalid`, with',
        "a list `problems` of `{place, key, code, message}`. Codes `image.*` are the reasons why an image is skipped.",
        "Text in {braces} stands for values, text in [brackets] is not always there.",
        "",
        "| code | exit code | message | hint |",
        "| --- | ---: | --- | --- |",
    ]
    coded = sorted((entry for entry in entries if entry.code), key=lambda entry: entry.code)
    for code, same in groupby(coded, key=lambda entry: entry.code):
        places = list(same)
        messages, hints = (
            "<br>".join(dict.fromkeys(_cell(text) for text in texts if text))
            for texts in ([one.message for one in places], [one.hint for one in places])
        )
        lines.append(f"| `{code}` | {places[0].exit_code} | {messages} | {hints} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
