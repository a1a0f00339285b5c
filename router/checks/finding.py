"""What a check found out."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`detail` says how it is; `advice`, unless it is ok, what to do."""

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""


def ok(subject: str, detail: str) -> Finding:
    return Finding(subject, "ok", detail)


def warning(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, "warning", detail, advice)


def problem(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, "problem", detail, advice)
