"""Iterations that took so long → how long prompt tokens take, and how many fit into a time."""

from npusim.serving.request import Work

WEIGHT = 0.25  # of the newest iteration in a moving average: the last ten make up 94 %


class Pace:
    """Learns by moving averages what an iteration of decodes alone takes and what each prompt token
    adds to it.

    Assumes that an iteration takes a fixed time and one in proportion to its prompt tokens.
    """

    def __init__(self) -> None:
        self._decode_ps: float | None = None
        self._token_ps: float | None = None

    def observe(self, works: list[Work], duration_ps: int) -> None:
        """An iteration of `works` took `duration_ps`, from its start until its tokens were out."""
        prompt_tokens = sum(work.new_tokens for work in works if not work.decodes)
        if not prompt_tokens:
            self._decode_ps = averaged(self._decode_ps, duration_ps)
        else:
            added_ps = max(duration_ps - (self._decode_ps or 0.0), 0.0)
            self._token_ps = averaged(self._token_ps, added_ps / prompt_tokens)

    def prompt_ps(self, tokens: int) -> int:
        """What `tokens` prompt tokens add to iterations; 0 before the first was seen."""
        return round(tokens * (self._token_ps or 0.0))

    def prompt_tokens(self, within_ps: int) -> int | None:
        """Prompt tokens of an iteration with decodes that takes `within_ps`; None: not known."""
        if not self._token_ps:
            return None
        return int(max(within_ps - (self._decode_ps or 0.0), 0.0) / self._token_ps)


def averaged(average: float | None, value: float) -> float:
    """A moving average with one more value."""
    return value if average is None else average + WEIGHT * (value - average)
