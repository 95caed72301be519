"""Values that pydantic checks: what people write into files of settings, and options of what is fitted.

Apart from `types`, since a cold decision needs none of them, and pydantic takes longer to import than most of the rest.
"""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, PlainSerializer

from lookahead_router.errors import describing

Capabilities = Annotated[frozenset[str], PlainSerializer(sorted, return_type=list[str])]
"""Words for what a candidate can do, written in order: that of a set differs from process to process."""


class Value(BaseModel):
    """Frozen pydantic value whose validation errors are ours."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        with describing(f"{type(self).__name__}: "):
            super().__init__(**data)
