"""A HF config as a dict → its values, checked, by key."""

from npusim.errors import SpecError, nearest

MOST = 1 << 24
MAX_LAYERS = 4096

# hidden_act as configs have it → what it costs; the variants of GELU cost the same.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "quick_gelu": "gelu",
    "relu": "relu",
}


class Keys:
    """Typed access to a config; a null value counts as missing. `used` collects what was asked for.

    Every getter raises SpecError that names the key.
    """

    def __init__(self, config: dict):
        self.config = config
        self.used: set[str] = set()

    def with_defaults(self, defaults: dict) -> "Keys":
        """The same config with `defaults` for the keys it leaves out."""
        given = {key: value for key, value in self.config.items() if value is not None}
        wider = Keys(defaults | given)
        wider.used = self.used
        return wider

    def raw(self, key: str):
        """The value as it stands, None when missing."""
        self.used.add(key)
        return self.config.get(key)

    def layers(self, key: str) -> int:
        """A number of layers, which must be there."""
        return self.count(key, most=MAX_LAYERS)

    def count(self, key: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
        """An integer in least…most; without a default the key must be there."""
        value = self.raw(key)
        if value is None:
            if default is None:
                close = nearest(key, self.config)
                raise SpecError(f"the model's config needs the key {key!r}{close}")
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise SpecError(f"{key} must be an integer, not {value!r}")
        if not least <= value <= most:
            raise SpecError(f"{key} must be from {least} to {most}, not {value}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise SpecError(f"{key} must be true or false, not {value!r}")
        return value

    def fraction(self, key: str, default: float) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise SpecError(f"{key} must be above 0 and at most 1, not {value!r}")
        return float(value)

    def text(self, key: str, default: str) -> str:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise SpecError(f"{key} must be a string, not {value!r}")
        return value
