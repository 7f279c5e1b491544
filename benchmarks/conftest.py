"""Collects what benchmarks found and prints it after the tests."""

import pytest

FIGURES = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[FIGURES] = []


@pytest.fixture
def figures(request):
    """Lines to print at the end."""
    return request.config.stash[FIGURES]


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("figures")
    for line in config.stash[FIGURES]:
        terminalreporter.write_line(line)
