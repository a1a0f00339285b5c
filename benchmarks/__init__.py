"""Measurements: of the whole pipeline, and of its stages alone. Floors stand here, not in tests."""
