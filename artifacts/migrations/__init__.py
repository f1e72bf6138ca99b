"""Alembic migrations of every table of ours."""
