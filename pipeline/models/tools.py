"""The tools of package registries, npm and pip, as child processes with a one-line complaint."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT_S = 900


def run_tool(
    what: str,
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    error: type[RuntimeError],
) -> None:
    """Run a command to its end.

    Args:
        what: What it does, for the message.
        command: Program and arguments.
        folder: Where it runs.
        environment: Added to this process's own.
        error: What is raised if it does not run or fails; the message is one line.
    """
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise error(f"{Path(command[0]).name} did not run: {cause}") from cause
    if done.returncode != 0:
        raise error(f"{what} failed: {_complaint(done.stderr) or f'exit {done.returncode}'}")


def _complaint(output: str) -> str:
    """Return the line that says what went wrong: both tools print warnings in front of it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    return errors[0] if errors else "".join(lines[-1:])
