"""What a state says of itself, in the file that is written last: whose it is, and what is in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.folder import Folder
from training.checkpoint.files import INDEX, sha256_of

LAST = "state.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What `state.json` says.

    Attributes:
        fingerprint: Of the run.
        step: Steps done.
        ranks: That wrote it.
        counters: Whatever else is counted, over all ranks.
        files: SHA-256 by name.
    """

    fingerprint: str
    step: int = 0
    ranks: int = 1
    counters: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def read_state(folder: Folder) -> tuple[State | None, str]:
    """Return what a state says of itself, or what is wrong with it."""
    try:
        state = State(**json.loads(folder.read(LAST)))
    except (ValueError, TypeError) as error:
        return None, f"{LAST}: {error}"
    return (state, "") if INDEX in state.files else (None, f"{LAST} names no {INDEX}")


def damage_of(folder: Folder, name: str, sha256: str) -> str:
    """Return what is wrong with a file, or nothing."""
    try:
        found = sha256_of(folder, name)
    except FileNotFoundError:
        return f"{name} is missing"
    return "" if found == sha256 else f"{name} has SHA-256 {found}, expected {sha256}"
