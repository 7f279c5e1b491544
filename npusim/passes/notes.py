"""What the passes did that a user should know → plain sentences."""


def notes_of(mapped, planned) -> list[str]:
    return []
