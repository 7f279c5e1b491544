"""The pydantic base of every spec: frozen, hashable, no unknown keys."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """What a user wrote, validated. Fields are the file's keys, one to one, in the file's units."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)
