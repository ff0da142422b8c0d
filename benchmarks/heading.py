"""Where a benchmark's numbers are from: commit, machine, versions, command."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import torch


def heading(note: str) -> str:
    """Say it on one line; `note` is what else matters."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"Commit {commit}, {os.cpu_count()} cores, {processor()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}; {note}; command: "
        f"`python {' '.join(sys.argv)}`"
    )


def processor() -> str:
    """Return the processor's name, family and model as Linux gives them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in fields.items()}
    if "model name" not in known:
        return platform.machine()
    return f"{known['model name']} family {known['cpu family']} model {known['model']}"
