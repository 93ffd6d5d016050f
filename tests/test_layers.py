"""The plan of the house: imports point down, one module per command, typed results; only the command line prints."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tlcli"

# From the top. A package imports from itself and from those below; those of one line do not know each other.
LAYERS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"api"},
    {"workflows"},
    {"serving"},
    {"config", "reports", "export"},
    {"diagnostics"},
    {"model"},
    {"runs"},
    {"tuning", "finetuning"},
    {"evaluation"},
    {"heads"},
    {"cluster"},
    {"features"},
    {"engines"},
    {"backbones"},
    {"datasets"},
    {"images"},
    {"system"},
    {"progress", "errors"},
]
PUBLIC = "tlcli.api"
"""What the package itself imports, for ``import tlcli``."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
COMMANDS = {
    "fetch",
    "inspect",
    "features",
    "train",
    "evaluate",
    "predict",
    "export",
    "serve",
    "tune",
    "runs",
    "backbones",
    "config",
    "cache",
    "doctor",
}
"""Each has a module in cli, and one in workflows where it does more than print."""
READ_RAW_JSON = {"read_json", "read_export", "load_json"}
"""Functions that return what a file or a request holds, before it is validated."""
CONFIG_MAY_IMPORT = (
    "tlcli.config",
    "tlcli.backbones.catalog",
    "tlcli.images.formats",
    "tlcli.images.tiles",
    "tlcli.evaluation.gates",
    "tlcli.evaluation.objectives",
    "tlcli.evaluation.transfer_gap",
    "tlcli.errors",
    "tlcli.system.files",
    "tlcli.system.addresses",
    "tlcli.system.remote.path",
    "tlcli.progress",
)


class Module(NamedTuple):
    """A module of tlcli, parsed."""

    name: str
    tree: ast.Module

    @property
    def layer(self) -> str:
        """The first folder or file below tlcli that it is in; empty for tlcli itself."""
        return layer_of(self.name)


def layer_of(name: str) -> str:
    """tlcli.datasets.acquire.sources.url -> datasets."""
    return name.split(".")[1] if "." in name else ""


def modules() -> list[Module]:
    """All of tlcli."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, ast.parse(path.read_text(encoding="utf-8"), str(path))))
    return found


MODULES = modules()
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def imports(tree: ast.AST) -> Iterator[str]:
    """Every import: at the top, in functions, for type checking, by name in a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            yield ast.literal_eval(node.args[0])


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these packages or in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def ways_out(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str]]:
    """Calls that print or end the process, each with the function it is in."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTS_OR_EXITS:
            yield ast.unparse(node.func), function
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc):
            yield "SystemExit", function
        yield from ways_out(node, inner)


PROCESSES = (
    "tlcli.backbones.keras_process",
    "tlcli.backbones.network_process",
    "tlcli.engines.gpu_process",
    "tlcli.images.decode_process",
    "tlcli.finetuning.training",
    "tlcli.export.check",
    "tlcli.serving.decode_process",
)
PRINTS = {"print", "sys.stdout.write", "sys.stderr.write"}
EXITS = {"sys.exit", "exit", "quit", "os._exit", "os.abort"}
PRINTS_OR_EXITS = PRINTS | EXITS


def test_every_package_has_a_layer() -> None:
    there = {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".py"}
    there -= {"__init__", "__pycache__", "configs"}  # configs: YAML files in an installed tlcli
    assert there == set(LEVEL)


@each_module
def test_imports_point_down(module: Module) -> None:
    for name in imports(module.tree):
        assert not name.startswith("."), f"{module.name} imports {name} by a relative path"
        if module.name == "tlcli":
            assert is_within(name, (PUBLIC,))
            continue
        other = layer_of(name) if name.startswith("tlcli.") else ""
        if other in LEVEL and other != module.layer:
            assert LEVEL[other] > LEVEL[module.layer], f"{module.name} imports {name}, which is not below it"


@each_module
def test_imported_modules_exist(module: Module) -> None:
    known = {m.name for m in MODULES}
    for name in imports(module.tree):
        if name.startswith("tlcli."):
            assert name in known or name.rpartition(".")[0] in known, f"{module.name} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.layer == "config"], ids=lambda module: module.name)
def test_schema_of_the_config_imports_nothing_below_but_the_catalog(module: Module) -> None:
    if not module.name.startswith("tlcli.config.build_"):  # from a section to the objects of the rooms below
        for name in imports(module.tree):
            if name.startswith("tlcli."):
                assert is_within(name, CONFIG_MAY_IMPORT), f"{module.name} imports {name}"


@each_module
def test_config_is_known_to_the_command_line_and_the_workflows_alone(module: Module) -> None:
    if module.layer not in ("cli", "api", "workflows", "config"):
        assert not [name for name in imports(module.tree) if is_within(name, ("tlcli.config",))]


@each_module
def test_typer_and_rich_belong_to_the_command_line(module: Module) -> None:
    if module.layer != "cli":
        assert not [name for name in imports(module.tree) if is_within(name, ("typer", "rich", "click"))]


@each_module
def test_only_the_command_line_prints_and_exits(module: Module) -> None:
    if module.name in PROCESSES:  # main() is a process of its own
        assert {function for _, function in ways_out(module.tree)} <= {"main"}
    elif module.layer != "cli":
        assert not list(ways_out(module.tree))


@pytest.mark.parametrize("module", [m for m in MODULES if m.layer == "cli"], ids=lambda module: module.name)
def test_within_the_command_line_only_console_prints_and_only_the_entry_exits(module: Module) -> None:
    called = set(ways_out(module.tree))
    if module.name != "tlcli.cli.console":
        assert not {call for call, _ in called} & PRINTS
    entries = {"_exit_at_once"} if module.name == "tlcli.cli.interrupts" else {"main", "run"}
    assert {function for call, function in called if call not in PRINTS} <= entries


def test_workflows_are_one_module_per_command() -> None:
    there = {module.name.split(".")[2] for module in MODULES if module.name.startswith("tlcli.workflows.")}
    assert there - COMMANDS == set(), "its place is a room below"
    assert COMMANDS - {"config"} <= there


@pytest.mark.parametrize("module", [m for m in MODULES if m.layer == "workflows"], ids=lambda module: module.name)
def test_workflows_do_not_import_one_another(module: Module) -> None:
    assert not [name for name in imports(module.tree) if is_within(name, ("tlcli.workflows",))]


@each_module
def test_public_functions_return_typed_values(module: Module) -> None:
    untyped = {name for name, returned in public_returns(module.tree) if "dict[str, Any]" in returned}
    assert untyped - READ_RAW_JSON == set(), f"{module.name}: return a dataclass (a document: dict[str, object])"


def public_returns(tree: ast.AST, is_public: bool = True) -> Iterator[tuple[str, str]]:
    """Public functions and methods, each with the annotation of what it returns."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from public_returns(node, is_public and not node.name.startswith("_"))
        elif isinstance(node, ast.FunctionDef) and is_public and not node.name.startswith("_") and node.returns:
            yield node.name, ast.unparse(node.returns)


# The rules themselves


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import tlcli.cli.app", ["tlcli.cli.app"]),
        ("import a, tlcli.datasets as d", ["a", "tlcli.datasets"]),
        ("from tlcli import runs, bundle", ["tlcli.runs", "tlcli.bundle"]),
        ("from tlcli.images.decode import image", ["tlcli.images.decode.image"]),
        ("from . import x", ["..x"]),
        ("def f():\n  from tlcli.cli import app", ["tlcli.cli.app"]),
        ("if TYPE_CHECKING:\n  from tlcli.cli import app", ["tlcli.cli.app"]),
        ("try:\n  import rich.table\nexcept ImportError:\n  pass", ["rich.table"]),
        ("importlib.import_module('tlcli.cli')", ["tlcli.cli"]),
        ("x = 'import tlcli.cli'", []),
    ],
)
def test_imports_are_found_wherever_they_are(source: str, found: list[str]) -> None:
    assert list(imports(ast.parse(source))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("print(1)", [("print", "")]),
        ("def f():\n  if x:\n    print(1)", [("print", "f")]),
        ("class A:\n  def f(self):\n    g(sys.exit(1))", [("sys.exit", "f")]),
        ("def f():\n  raise SystemExit(1)", [("SystemExit", "f")]),
        ("def f():\n  def g():\n    exit()\n  sys.stdout.write('')", [("exit", "g"), ("sys.stdout.write", "f")]),
        ("console.print(1)\nsys.stdout.flush()\nfootprint(2)", []),
    ],
)
def test_prints_and_exits_are_found_with_their_function(source: str, found: list[tuple[str, str]]) -> None:
    assert list(ways_out(ast.parse(source))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f() -> dict[str, Any]: ...", [("f", "dict[str, Any]")]),
        ("class A:\n  def f(self) -> int: ...\n  def _g(self) -> int: ...", [("f", "int")]),
        ("class _A:\n  def f(self) -> int: ...", []),
        ("def _f() -> int: ...\ndef g(): ...", []),
    ],
)
def test_public_returns_are_found(source: str, found: list[tuple[str, str]]) -> None:
    assert list(public_returns(ast.parse(source))) == found
