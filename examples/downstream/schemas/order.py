"""The service's own records: its package `schemas` is not the router's."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Order:
    item: str

    @classmethod
    def parse(cls, value: bytes) -> Self:
        return cls(value.decode())
