"""Settings of the service: where it listens and what it takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import between, setting

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Names under which a browser on this machine reaches a service on loopback."""


@dataclass(frozen=True)
class ServiceConfig:
    """Where the service listens, and its limits. Each is told by a 4xx answer that names it."""

    host: str = setting("127.0.0.1", "address to listen on; others than loopback need a token")
    port: int = setting(8000, "port to listen on; 0 is any that is free")
    processes: int = setting(1, "processes that answer, on one store")
    tokens: Path | None = setting(None, "file of hashed tokens (default: tokens.json in the store)")
    allowed_hosts: str = setting(
        "", "names that clients may call the service by, separated by commas (default: loopback, and --host)"
    )
    max_mb: int = setting(20, "largest upload, megabytes")
    max_megapixels: int = setting(50, "largest image, megapixels; looked up in its header")
    concurrent: int = setting(16, "images that one process has in hand; more are answered with 429")
    upload_seconds: int = setting(30, "longest upload; a slower one is answered with 408")
    queue_seconds: int = setting(10, "longest wait for a free core; then the answer is 429")

    def __post_init__(self) -> None:
        between("port", self.port, 0, 65_535)
        between("processes", self.processes, 1, 256)
        between("max_mb", self.max_mb, 1, 1000)
        between("max_megapixels", self.max_megapixels, 1, 100)  # what ``images.decoding`` takes at most
        between("concurrent", self.concurrent, 1, 1000)
        between("upload_seconds", self.upload_seconds, 1, 3600)
        between("queue_seconds", self.queue_seconds, 1, 3600)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def names(self) -> frozenset[str]:
        """Names that the Host header may have; empty when any will do.

        A page of another site can make a browser send requests to loopback under a name of its own (DNS
        rebinding), so on loopback the name counts even where no token is asked for.
        """
        given = {name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip()}
        if given or self.is_local:
            return frozenset({*given, *LOCAL_NAMES, self.host.lower()})
        return frozenset()

    def tokens_path(self, store: Path) -> Path:
        """The file of tokens of the service on this store."""
        return self.tokens or store / "tokens.json"
