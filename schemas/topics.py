"""Names of topics and groups, and which partition a destination's records go to."""

from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Topics:
    """The four topics of one namespace ('' is the default one), as `router init` made them.

    `partitions` is that of `deliveries` and of `attempts`; `shards` is the schedule's, at least
    as many. One destination is one shard, and a shard lies in one partition: so one worker sees
    all of a destination's traffic.
    """

    namespace: str = ""
    partitions: int = 16
    shards: int = 64

    @property
    def prefix(self) -> str:
        return f"{self.namespace}." if self.namespace else ""

    @property
    def events(self) -> str:
        return f"{self.prefix}events"

    @property
    def deliveries(self) -> str:
        return f"{self.prefix}deliveries"

    @property
    def attempts(self) -> str:
        return f"{self.prefix}attempts"

    @property
    def dead(self) -> str:
        return f"{self.prefix}dead"

    @property
    def all(self) -> tuple[str, str, str, str]:
        return (self.events, self.deliveries, self.attempts, self.dead)

    def group(self, role: str) -> str:
        return f"{self.prefix}router-{role}"

    def shard_of(self, tenant: str, destination: str) -> int:
        """The shard of the schedule that holds everything of this destination."""
        return crc32(f"{tenant}/{destination}".encode()) % self.shards

    def partition_of(self, tenant: str, destination: str) -> int:
        """The partition of `deliveries` and of `attempts` with this destination's records."""
        return self.shard_of(tenant, destination) % self.partitions
