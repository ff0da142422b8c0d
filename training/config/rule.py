"""What every setting is checked with."""


def require(name: str, value: object, rule: str, holds: bool) -> None:
    """Refuse a value that breaks its rule.

    Raises:
        ValueError: `holds` is false.
    """
    if not holds:
        raise ValueError(f"{name}: got {value}, expected {rule}; correct it in the config")
