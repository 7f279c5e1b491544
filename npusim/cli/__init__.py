"""Command line → calls of the layers below; every command imports what it needs when it runs."""

from npusim.cli.app import main

__all__ = ["main"]
