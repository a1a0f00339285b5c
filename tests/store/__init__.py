"""Tests of what is particular to SQL."""
