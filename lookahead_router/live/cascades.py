"""The pool file's `cascade`: what looks at answers, and whether to ask again."""

from typing import Any, Literal

from pydantic import field_validator, model_validator

from lookahead_router.dispatch import Agreement, Cascade, Confidence, CutOff, Refusal, Reliability
from lookahead_router.values import Value

CheckName = Literal["agreement", "refusal", "cut-off", "confidence"]


class CheckConfig(Value):
    """A check of answers by its name, with its reliability where yours is another one."""

    name: CheckName
    """A check of one's own is a function, which no file holds."""
    minimum: float | None = None
    """Mean probability of an answer's tokens that passes `confidence`, in (0, 1)."""
    reliability: dict[str, float] | None = None
    """The fields of `Reliability`; as measured when absent, which `cut-off` and `confidence` were not."""

    @model_validator(mode="after")
    def _check_itself(self) -> "CheckConfig":
        self.check()
        return self

    def check(self) -> Any:
        """The check itself.

        Raises:
            ValueError: settings that it does not take, or lacks.
        """
        if (self.minimum is not None) != (self.name == "confidence"):
            told = "needs a minimum" if self.minimum is None else "takes no minimum, which is confidence's"
            raise ValueError(f"the check {self.name!r} {told}")
        try:
            reliability = None if self.reliability is None else Reliability(**self.reliability)
        except TypeError:
            fields = ", ".join(Reliability.__dataclass_fields__)
            raise ValueError(
                f"the reliability of {self.name!r} needs passes_right and passes_wrong, out of {fields}"
            ) from None
        if self.name in ("agreement", "refusal"):
            made = Agreement if self.name == "agreement" else Refusal
            return made() if reliability is None else made(reliability)
        if reliability is None:
            raise ValueError(
                f"the check {self.name!r} needs its reliability, {{passes_right: ..., passes_wrong: ...}}: it depends "
                "on your candidates"
            )
        return CutOff(reliability) if self.minimum is None else Confidence(self.minimum, reliability)


class CascadeConfig(Value):
    """A cascade, as a pool file has it."""

    checks: tuple[CheckConfig, ...]
    """What looks at answers, in this order: names, or mappings with `name` and settings."""
    score_per_usd: float
    """Score that one dollar is worth, >= 0."""
    max_calls: int = 2
    """Most answers that one request may take, from 2 to 4."""
    order: tuple[str, ...] | None = None
    """Candidates in the order of asking; whoever is worth most comes next when absent."""

    @field_validator("checks", mode="before")
    @classmethod
    def _read_names(cls, checks: Any) -> Any:
        if not isinstance(checks, list | tuple):
            raise ValueError("is a list of names and mappings; wrap the single check in one")
        return [{"name": check} if isinstance(check, str) else check for check in checks]

    @model_validator(mode="after")
    def _check_itself(self) -> "CascadeConfig":
        self.cascade()
        return self

    def cascade(self) -> Cascade:
        """The cascade itself.

        Raises:
            ConfigurationError: a value out of its domain, or a check twice.
        """
        checks = [check.check() for check in self.checks]
        return Cascade(checks, self.score_per_usd, max_calls=self.max_calls, order=self.order)
