"""What this machine is, as the system tells it, and how much of it is given to this process.

Every function gives None, or nothing, for what the system does not tell; none raises because of it.
"""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlcli.system.cpu import GIVEN, cores, group_limits, quota, threads

_PROC = Path("/proc")
_NO_LIMIT = 1 << 60
"""Version 1 of control groups writes a number of this size where there is no limit."""

INSTRUCTIONS = {
    "x86_64": (
        "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
        "amx_tile", "amx_bf16", "amx_int8",
    ),
    "aarch64": ("asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16", "sme"),
}  # fmt: skip
"""Linux's names of what decides the speed of matrix products, by architecture; asimd is NEON, asimddp its products of
bytes. bfloat16 without avx512_bf16, amx_bf16 or bf16 is emulated."""


@dataclass(frozen=True)
class Cores:
    """How many there are, and how many of them are ours."""

    machine: int | None
    bound: int | None
    """Those that this process was bound to when it started; None where the system cannot bind."""
    quota: float | None
    """Cores' worth of time that its control groups allow."""
    usable: int
    """What comes of all of these."""
    used: int
    """Threads that tlcli starts: all usable ones, unless fewer were asked for."""


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    total: int | None
    available: int | None
    """What programs can still have without others being swapped out, as Linux estimates it."""
    limit: int | None
    """What the control groups allow."""


@dataclass(frozen=True)
class Processor:
    """Its name, and which of :data:`INSTRUCTIONS` it has; None where the system does not tell."""

    name: str
    architecture: str
    instructions: dict[str, bool] | None


def cores_seen() -> Cores:
    """Of this process."""
    return Cores(os.cpu_count(), len(GIVEN) or None, quota(), cores(), threads())


def memory() -> Memory:
    """Of this machine, now."""
    rows = _rows(_PROC / "meminfo")  # MemTotal: 8052120 kB
    found = {name: int(value.split()[0]) << 10 for name, value in rows.items() if re.fullmatch(r"\d+ kB", value)}
    limits = (
        int(text) for text in group_limits("memory", "memory.max", ("memory.limit_in_bytes",)) if text.isdecimal()
    )
    return Memory(
        found.get("MemTotal", _physical_memory()),
        found.get("MemAvailable"),
        min((limit for limit in limits if limit < _NO_LIMIT), default=None),
    )


def _physical_memory() -> int | None:
    with suppress(AttributeError, OSError, ValueError):  # no sysconf on Windows, other names elsewhere
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def processor() -> Processor:
    """The first of this machine."""
    rows = _rows(_PROC / "cpuinfo")
    architecture = platform.machine()
    told = rows.get("flags") or rows.get("Features")  # as x86 and ARM call them
    looked_for = INSTRUCTIONS.get(architecture)
    has = {name: name in told.split() for name in looked_for} if told and looked_for else None
    return Processor(rows.get("model name") or platform.processor() or architecture, architecture, has)


def file_system(path: Path) -> str | None:
    """The type of the file system that holds ``path``, such as ext4, overlay, tmpfs, nfs4."""
    try:
        place = path.resolve()
        lines = (_PROC / "self" / "mountinfo").read_text(errors="surrogateescape").splitlines()
    except (OSError, RuntimeError):
        return None
    found: tuple[int, str] | None = None
    for mounted_at, kind in _mounts(lines):
        if place.is_relative_to(mounted_at) and (found is None or len(mounted_at) >= found[0]):  # the last one covers
            found = len(mounted_at), kind
    return found[1] if found else None


def _mounts(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:  # 36 35 98:0 /mnt1 /mnt/parent noatime master:1 - ext3 /dev/root rw,errors=continue
        before, _, after = line.partition(" - ")
        with suppress(IndexError):
            place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split()[4])
            yield place, after.split()[0]


def _rows(file: Path) -> dict[str, str]:
    """``name : value`` lines, the first of each name; none where there is no such file."""
    rows: dict[str, str] = {}
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(":")
            rows.setdefault(name.strip(), value.strip())
    return rows
