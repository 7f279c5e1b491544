"""Numbers of reports → text; npusim.units has that of times and bytes."""


def percent(fraction: float) -> str:
    """0.5 → `50 %`; below a tenth with one decimal."""
    return f"{100 * fraction:.1f} %" if abs(fraction) < 0.1 else f"{100 * fraction:.0f} %"
