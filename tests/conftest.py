"""What holds for all tests: hypothesis examples may take as long as a busy machine needs."""

from hypothesis import settings

settings.register_profile("npusim", deadline=None)
settings.load_profile("npusim")
