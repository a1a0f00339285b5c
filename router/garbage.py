"""Where Python looks for garbage: not among what a role stands on.

A full collection goes through every object there is. The modules, models and clients of a role
are a hundred thousand: 25 to 60 ms in which nothing else happens, every few seconds under load.
"""

import gc

YOUNG = 5_000
"""So many new objects until the next look at them: at 700, Python's own, most of those that a
request needs are still in use when they are looked at."""


def spare_what_stays() -> None:
    """From now on no collection looks at what exists. What is made later is collected as ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
