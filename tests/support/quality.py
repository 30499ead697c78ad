"""A quality check that takes no time."""

from types import SimpleNamespace


def all_is_well(slide, roles=None):
    """Finds nothing, in one step."""
    yield
    return SimpleNamespace(findings=())
