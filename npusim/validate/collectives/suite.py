"""Collectives, on chip and between chips → errors against closed forms, ASTRA-sim and silicon."""

from npusim.validate.collectives import astra, measured, onchip
from npusim.validate.compare import Family
from npusim.validate.suites import Progress


def run(full: bool, progress: Progress) -> list[Family]:
    """Families of the three references; `full` adds larger collectives on the engine."""
    progress("collectives on the engine against closed forms")
    found = onchip.families(full)
    progress("rings of chips against ASTRA-sim")
    found += astra.families() + astra.engine_families(full)
    progress("links against A100")
    return found + measured.families()
