"""Memory and seconds of this process and of all that it started, by Linux' /proc."""

import os
from contextlib import suppress
from pathlib import Path


def tree() -> list[Path]:
    """Return this process and all that came from it, as folders of /proc."""
    parent = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found.extend(child for child, of in parent.items() if of == pid)
    return [Path("/proc", str(pid)) for pid in found]


def memory_of(process: Path) -> tuple[int, int]:
    """Return its share of resident bytes, and of those that are no file's."""
    with suppress(OSError):
        lines = (process / "smaps_rollup").read_text().splitlines()[1:]
        of = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return of["Pss"], of["Pss"] - of["Pss_File"]
    return 0, 0


def cpu_of_tree() -> float:
    """Return seconds of a core, of what is running."""
    ticks = 0
    for process in tree():
        with suppress(OSError):
            ticks += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
