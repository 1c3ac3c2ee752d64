"""The version."""

__version__ = "0.1.0"


def version() -> str:
    """Return the version of torchkeras.

    Example:
        >>> version()
        '0.1.0'
    """
    return __version__
