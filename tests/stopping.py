"""A training run that ends in the middle."""


class Stopped(Exception):  # noqa: N818
    """Raised by a listener, as Ctrl-C would be."""


def stop_at(step):
    """Return a listener that ends the run at a step."""

    def listen(entry):
        if entry["step"] == step:
            raise Stopped

    return listen
