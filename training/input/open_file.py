"""A local file that several threads read and write by position."""

import os


class OpenFile:
    """Open until nobody holds this object.

    One that falls out of a cache of open files may be in use in another thread, so it is closed
    when the last one lets go.

    Attributes:
        number: The file descriptor; valid as long as the object is held.
    """

    def __init__(self, path: str, flags: int = os.O_RDONLY) -> None:
        self.number = -1
        self.number = os.open(path, flags | os.O_CLOEXEC, 0o666)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)

    def read(self, size: int, offset: int) -> bytes:
        """Return the `size` bytes at `offset`, fewer where the file ends."""
        return os.pread(self.number, size, offset)

    def write(self, data: bytes, offset: int) -> None:
        """Write all bytes to `offset`."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.number, rest, offset)
            rest, offset = rest[written:], offset + written
