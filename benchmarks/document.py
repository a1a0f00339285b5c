"""Figures go into the documents by themselves, between markers."""

from pathlib import Path


def write_between_markers(document: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- name begin -->` and `<!-- name end -->`."""
    begin, end = f"<!-- {name} begin -->", f"<!-- {name} end -->"
    before, _, rest = document.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{document} has no markers {begin} and {end}")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")
