"""The log file: one JSON line every few steps, the same whether or not the run was resumed.

On a local disk a line is appended at once. Object stores cannot append: there the log is published
with every state, since what came after the newest state is done, and logged, again.
"""

import json

from pipeline.folder import Folder
from pipeline.staging import local_path
from training.log.sink import Line

NAME = "metrics.jsonl"


class JsonLines:
    """Keeps `metrics.jsonl`.

    Args:
        out: Folder of the run; lines of steps that a resumed run will do again are cut off.
        done: Steps already done.
    """

    def __init__(self, out: Folder, *, done: int) -> None:
        self.out = out
        self._local = local_path(out.path(NAME))
        self._lines = [line for line in _complete_lines(out) if json.loads(line)["step"] <= done]
        if self._local is not None:
            out.write(NAME, "".join(self._lines).encode())

    def write(self, line: Line) -> None:
        """Append one line."""
        text = json.dumps(line) + "\n"
        if self._local is None:
            self._lines.append(text)
        else:
            with self._local.open("a", encoding="utf-8") as file:
                file.write(text)

    def publish(self) -> None:
        """Make sure that every line so far lies in the folder."""
        if self._local is None:
            self.out.write(NAME, "".join(self._lines).encode())

    def close(self, *, failed: bool) -> None:  # noqa: ARG002
        """Publish."""
        self.publish()


def _complete_lines(out: Folder) -> list[str]:
    """Return the lines of a log; a kill may have cut the last one short."""
    if not out.exists(NAME):
        return []
    lines = out.read(NAME).decode("utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
