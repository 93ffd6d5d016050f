"""tlcli features."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen
from tlcli.errors import UsageError

if TYPE_CHECKING:
    from tlcli.workflows.features import ComputedFeatures

_LISTED = 20
"""Unreadable images that are printed."""


def features(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Compute part I of N, as in 3/8: for the jobs of an array, in any order."
        ),
    ] = None,
    cache_images: options.CacheImagesOption = False,
    verify: options.VerifyOption = False,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    ray: options.RayOption = None,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Compute the features of all images of a config, and train nothing.

    Every image passes the frozen backbone once, those for training in all augmented views; train, tune and evaluate
    compute nothing afterwards. The images are divided into units of 512, and a unit that is done is skipped: a command
    that was killed continues when it is run again, and several machines that share a cache (TLCLI_CACHE) divide the
    units with --shard.
    """
    from tlcli.workflows.features import compute_features  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    part = parse_shard(shard)
    loaded = options.load_chosen(config, set_, screen.progress, runs_dir)
    done = compute_features(loaded, part, verify, cache_images, screen.progress, ray)
    options.remember(loaded, runs_dir)
    _show(screen, done, part)
    if done.left_to_augment:
        screen.next_command("tlcli", "features", *loaded.options)
    else:
        screen.next_command("tlcli", "train", *loaded.options)
    screen.document(
        {
            "config": loaded.argument,
            "shard": list(part),
            "images": done.images,
            "units": {"total": done.units, "computed": done.computed_units},
            "features": {"computed": done.computed, "reused": done.views - done.computed},
            "read": done.read,
            "skipped": done.bad,
            "left_to_augment": done.left_to_augment,
            "notes": done.notes,
            "warnings": [one.document() for one in loaded.without_effect],
        }
    )


def _show(screen: Screen, done: "ComputedFeatures", part: tuple[int, int]) -> None:
    of_shard = f" of shard {part[0]} of {part[1]}" if part[1] > 1 else ""
    screen.line(
        f"Units{of_shard}: {done.units:,}, of which {done.units - done.computed_units:,} were done; "
        f"{done.images:,} images, {done.read:,} read"
    )
    screen.line(f"Features: {done.computed:,} views computed, {done.views - done.computed:,} reused")
    for name, reason in list(done.bad.items())[:_LISTED]:
        screen.line(f"Unreadable: {name}: {reason}")
    if (more := len(done.bad) - _LISTED) > 0:
        screen.line(f"Unreadable: {more:,} more")
    if done.left_to_augment:
        screen.line(
            "Augmented views are not computed yet: which images are for training is known when all shards are done. "
            "Then run the command once more, with or without --shard."
        )


def parse_shard(given: str | None) -> tuple[int, int]:
    """The number of a part and how many there are; the whole where nothing is given.

    Raises:
        UsageError: it is not I/N with 1 <= I <= N.
    """
    if given is None:
        return 1, 1
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", given.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(
            "usage.invalid_shard",
            f"--shard {given:.50} is not I/N with 1 <= I <= N.",
            "Write --shard 3/8, for example.",
        )
    return int(found[1]), int(found[2])
