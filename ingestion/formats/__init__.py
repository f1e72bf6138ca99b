"""Reads Parquet, CSV and JSON lines alike."""
