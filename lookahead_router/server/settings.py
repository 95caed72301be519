"""What an operator sets of the server; who the candidates are stands in the pool file."""

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from lookahead_router.values import Value

PORT = 8400


class Settings(Value):
    """Where the server listens, what it admits, and what it keeps."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to bind to; anything but this machine's own loopback needs keys."""
    port: int = Field(default=PORT, ge=0, le=65535)
    """Port to bind to; 0 takes a free one."""
    keys: Path | None = None
    """File of the clients' keys, hashed; nobody needs one when absent."""
    decisions: Path | None = None
    """Log of decisions: JSONL, or SQLite by the suffix `.sqlite` or `.db`."""
    decisions_max_bytes: int = Field(default=100_000_000, ge=10_000)
    """Size at which the log is rotated."""
    decisions_kept: int = Field(default=5, ge=0)
    """Rotated logs that are kept beside the present one."""
    log_prompts: bool = False
    """Whether the log of decisions holds the prompts' text."""
    learnt: Path | None = None
    """Folder in which profiles that feedback changed are kept over restarts."""
    sticky: Literal["turn", "thread", "adaptive"] | None = "turn"
    """`turn` keeps a tool loop with its candidate, `thread` a whole conversation, named by `x-lookahead-thread`;
    `adaptive` keeps a tool loop, and a conversation unless another candidate is foreseen to be better."""
    threads: int = Field(default=1, ge=1)
    """Threads of one prediction; as many predictions run at one time as there are cores."""
    max_body_bytes: int = Field(default=20_000_000, ge=1000)
    max_concurrency: int = Field(default=100, ge=1)
    """Requests at work at one time."""
    max_queue: int = Field(default=200, ge=0)
    """Requests that wait for their turn."""
    queue_seconds: float = Field(default=30.0, gt=0)
    """Longest time that a request waits for its turn."""
    header_seconds: float = Field(default=10.0, gt=0)
    """Longest time for the head of a request to arrive."""
    body_seconds: float = Field(default=60.0, gt=0)
    """Longest time for its body to arrive."""
    write_seconds: float = Field(default=120.0, gt=0)
    """Longest time that a reader may take nothing."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Longest time for requests under way, when the server is told to end."""
    feedback_prompts: int = Field(default=10_000, ge=0)
    """Decisions that feedback is taken for, the latest ones; their prompts stay in memory until then."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if not self.is_loopback and self.keys is None:
            raise ValueError(
                f"{self.host} can be reached from other machines, so clients need keys: make one with "
                "`lookahead-router serve --new-key NAME --keys keys.json`, and name the file with --keys"
            )
        if self.log_prompts and self.decisions is None:
            raise ValueError("log_prompts writes into the log of decisions, and there is none")
        return self


@lru_cache(maxsize=1024)  # asked of every request
def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, which no other can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
