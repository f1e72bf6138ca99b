"""Migrates our tables, with Alembic."""
