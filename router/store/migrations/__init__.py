"""Alembic's migrations; `router init` runs them. Each database has its own chain."""
