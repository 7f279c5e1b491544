"""Requests of an instance → how much work they are, kept up to date token by token."""

from npusim.serving.request import Request


class Load:
    """`tokens` that the requests of an instance still have to compute or put out, as far as is
    known: of a prompt what no finished iteration has computed, of a request that decodes 1."""

    __slots__ = ("_of", "tokens")

    def __init__(self) -> None:
        self.tokens = 0
        self._of: dict[int, int] = {}

    def count(self, request: Request) -> None:
        """A request has come, or is further (or less far) than when it was counted last."""
        tokens = max(1, request.remaining_tokens)
        self.tokens += tokens - self._of.get(request.request_id, 0)
        self._of[request.request_id] = tokens

    def drop(self, request: Request) -> None:
        """A request has left."""
        self.tokens -= self._of.pop(request.request_id)
