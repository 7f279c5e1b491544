"""The pydantic base of every spec, and the field types that specs share.

Numbers are strict: `true` and `"8"` are not numbers. A spec is frozen and hashable.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, WrapValidator
from pydantic_core import PydanticCustomError, ValidationError

DTYPE_BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "fp4": 4}
Dtype = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4", "fp4"]

# The upper bounds keep a slip of the unit (bytes for MiB, ps for ns) from looking like a chip.
Positive = Annotated[StrictFloat, Field(gt=0, le=1e9)]
NotNegative = Annotated[StrictFloat, Field(ge=0, le=1e9)]
ClockMhz = Annotated[StrictFloat, Field(ge=1, le=100_000)]
BandwidthGbS = Annotated[StrictFloat, Field(ge=0.01, le=100_000)]
Count = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Cycles = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]  # usable in a dotted path


class Spec(BaseModel):
    """What a user wrote, validated. Fields are the file's keys, one to one, in the file's units."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash((type(self).__name__, *map(_hashable, self.__dict__.values())))


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def rule(text: str) -> WrapValidator:
    """Validator for a union: one sentence for the user instead of an error for each member."""

    def check(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("rule", "{text}", {"text": text}) from None

    return WrapValidator(check)


def at(path: tuple[str | int, ...], text: str) -> PydanticCustomError:
    """Error of a rule between fields that points at `path` below the spec that raises it."""
    return PydanticCustomError("at", "{text}", {"text": text, "path": path})


Index = Annotated[StrictInt, Field(ge=0)]
CoreAt = tuple[Index, Index]
CoreRef = Annotated[Index | CoreAt, rule("must be a core id or [row, column]")]
