"""Collectives on a chip and between chips against closed forms, ASTRA-sim and A100."""
