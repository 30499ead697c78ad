"""How much is tried, as the options of pytest say."""

import pytest


@pytest.fixture
def number_of_mutants(request: pytest.FixtureRequest) -> int:
    """Damaged copies of each kind of file."""
    return int(request.config.getoption("--mutants"))


@pytest.fixture
def number_of_kills(request: pytest.FixtureRequest) -> int:
    """Kills of each command."""
    return int(request.config.getoption("--kills"))


@pytest.fixture
def fault_seed(request: pytest.FixtureRequest) -> int:
    """Chooses which copies are made, and when commands are killed."""
    return int(request.config.getoption("--fault-seed"))
