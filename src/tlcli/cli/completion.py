"""What a shell offers after a Tab: configs, keys of --set, runs, backbones, metrics. Fast, silent where it fails."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from tlcli.errors import TlcliError

Offer = Callable[[typer.Context, str], list[str]]


def _silent(offers: Callable[[typer.Context, str], Iterator[str]]) -> Offer:
    """Those that begin with what was typed; none where anything fails, as a shell would print the traceback."""

    @wraps(offers)
    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception):
            return [one for one in dict.fromkeys(offers(ctx, incomplete)) if one.startswith(incomplete)]
        return []

    return offer


@_silent
def configs(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - Typer finds arguments by name
    """Shipped configs, YAML files of the folder that is typed, and its subfolders."""
    from tlcli.config.shipped import shipped_configs  # noqa: PLC0415 - without the schema

    yield from shipped_configs()
    typed, _, _ = incomplete.rpartition("/")
    folder = Path(f"{typed}/" if typed or incomplete.startswith("/") else ".")
    start = f"{typed}/" if typed or incomplete.startswith("/") else ""
    for path in sorted(folder.expanduser().iterdir()):
        if path.suffix in (".yaml", ".yml") and path.is_file():
            yield f"{start}{path.name}"
        elif path.is_dir() and not path.name.startswith("."):
            yield f"{start}{path.name}/"


@_silent
def settings(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - see configs
    """Keys with ``=``; after it, the values that a key can have, where these are names."""
    from tlcli.config.schema import Config  # noqa: PLC0415 - keeps --help fast

    schema = Config.model_json_schema()
    for key, node in _keys(schema):
        yield f"{key}="
        if incomplete.startswith(f"{key}="):
            yield from (f"{key}={value}" for value in _values(node, schema))


def _keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys of all values that are no section, dotted, each with its JSON Schema."""

    def below(node: dict[str, Any], above: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, field in node["properties"].items():
            choices = [_resolved(one, schema) for one in field.get("anyOf", [field])]
            inner = [one for one in choices if "properties" in one]
            for one in inner:
                yield from below(one, f"{above}{name}.")
            if len(inner) < len(choices):
                yield f"{above}{name}", field

    return below(schema, "")


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    target: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return target


def _values(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    for one in node.get("anyOf", [node]):
        found = _resolved(one, schema)
        kinds = {"boolean": ("true", "false"), "null": ("null",)}
        yield from (str(value) for value in found.get("enum", kinds.get(found.get("type", ""), ())))
        if "const" in found:
            yield str(found["const"])


@_silent
def backbones(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - see configs
    """All backbones."""
    from tlcli.backbones.catalog import CATALOG  # noqa: PLC0415 - keeps --help fast

    yield from CATALOG


@_silent
def runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - see configs
    """``latest``, and the complete runs of --runs-dir, the newest first."""
    from tlcli.runs.folders import finished_runs, given_name, run_name  # noqa: PLC0415 - keeps --help fast

    folder = _runs_dir(ctx)
    found = finished_runs(folder)
    yield from ["latest"] if found else []
    yield from filter(None, (given_name(run) for run in found))
    yield from (run_name(folder, run) for run in found)


@_silent
def gates(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - see configs
    """Metrics with ``=``; those of a class with the classes of the run."""
    from tlcli.evaluation.gates import OF_CLASS, OVERALL  # noqa: PLC0415 - keeps --help fast
    from tlcli.runs.folders import find_run  # noqa: PLC0415
    from tlcli.runs.records import read_metrics  # noqa: PLC0415

    for name in OVERALL:
        yield from (f"{name}=", f"{name}.lower=")
    with suppress(TlcliError):  # there is no run
        labels = next(iter(read_metrics(find_run(_runs_dir(ctx), None, ctx.params.get("run"))).values())).labels
        yield from (f"{kind}.{label}=" for kind in OF_CLASS for label in labels)


def _runs_dir(ctx: typer.Context) -> Path:
    return Path(ctx.params.get("runs_dir") or "runs").expanduser()
