"""tlcli export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tlcli.cli import completion, options
from tlcli.cli.console import Screen

if TYPE_CHECKING:
    from tlcli.workflows.export import Exported

_OUTPUT = Path("exported")


def export(
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="openvino, onnx, saved_model, keras or tflite; several are repeated or separated by commas. "
            "Default: openvino.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", metavar="f32|f16|int8", help="Of all formats; several likewise. Default: f32."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            metavar="RUN",
            autocompletion=completion.runs,
            help=f"{options.A_RUN} Default: the latest. Several with one backbone become one graph with several "
            "outputs.",
        ),
    ] = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder of the export.")] = _OUTPUT,
    input_kind: Annotated[
        Literal["resized", "any"],
        typer.Option("--input", help="The images that it takes: resized to the size of the network, or any size."),
    ] = "resized",
    parity: Annotated[
        int, typer.Option("--parity", min=1, max=10_000, metavar="N", help="Images of the run to check it with.")
    ] = 100,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in --output.")] = False,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Write a trained model for other programs: one artefact with preparation, network, head and calibration inside.

    Each artefact is run in its own runtime on images of the run; one that answers otherwise than predict does in
    float32 is refused. Beside it are the classes, the record export.json, a model card, a sample image and check.py,
    which checks it wherever it runs.
    """
    from tlcli.runs.folders import find_run  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.export import as_json as document  # noqa: PLC0415
    from tlcli.workflows.export import export as write  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    found = [find_run(runs_dir, None, one) for one in run] if run else [find_run(runs_dir)]
    for one in found:
        screen.progress.note(f"Model: {one}")
    done = write(
        found, _listed(formats, "openvino"), _listed(precision, "f32"), output, parity, input_kind, overwrite,
        screen.progress,
    )  # fmt: skip
    _show(screen, done)
    screen.document(document(done))


def _listed(given: list[str] | None, default: str) -> list[str]:
    return [name.strip() for text in given or [default] for name in text.split(",") if name.strip()] or [default]


def _show(screen: Screen, done: "Exported") -> None:
    from rich.table import Table  # noqa: PLC0415 - keeps --help fast

    from tlcli.system.files import format_size  # noqa: PLC0415

    table = Table()
    for name in ("artefact", "size", "same class", "max, mean difference", "ms, 1 core (p95)", "ms, all (p95)"):
        table.add_column(name, justify="left" if name == "artefact" else "right")
    for one in done.artefacts:
        worst = min(one.parity.values(), key=lambda parity: (parity.agreement, -parity.max_difference))
        times = [f"{at.p50:.1f} ({at.p95:.1f})" if (at := one.latency.get(cores)) else "-" for cores in ("1", "all")]
        table.add_row(
            one.wanted.folder, format_size(one.size), f"{worst.same_class} of {worst.images}",
            f"{worst.max_difference:.1e}, {worst.mean_difference:.1e}", *times,
        )  # fmt: skip
    screen.table(table)
    if done.input_kind == "any":
        screen.line("The differences include those of resizing inside the artefact.")
    prepared = done.prepared
    screen.line(
        f"check.prepare, which needs Pillow only, gives {prepared.equal} of {prepared.images} images the pixels of "
        f"training (largest difference {prepared.max_levels} of 255 levels, {prepared.unreadable} not read)."
    )
    screen.line(f"Export: {done.folder}")
    screen.next_command("python", str(done.folder / "check.py"))
