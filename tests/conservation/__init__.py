"""The law of conservation: what was accepted is delivered or lies in `dead`, whatever breaks.

    python -m tests.conservation --minutes 30 --seed 7 --faults all

Real processes and services; faults at random moments, all of them drawn from the seed.
"""
