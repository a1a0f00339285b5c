import logging

from event_router.consumers.log_limit import OncePer


def line(message: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("client", level, "file", 1, message, (), None)


def test_a_line_that_repeats_is_written_once_in_a_while_with_its_count() -> None:
    now = 0.0
    limit = OncePer(10.0, clock=lambda: now)
    assert limit.filter(line("no broker"))
    assert not limit.filter(line("no broker"))
    assert not limit.filter(line("no broker"))
    now = 10.0
    late = line("no broker")
    assert limit.filter(late)
    assert late.getMessage() == "no broker (2 more like it before)"


def test_other_lines_and_lesser_ones_pass() -> None:
    limit = OncePer(10.0, clock=lambda: 0.0)
    assert limit.filter(line("no broker"))
    assert limit.filter(line("no leader"))
    assert limit.filter(line("fine", logging.INFO))
    assert limit.filter(line("fine", logging.INFO))
