"""Runs the tasks of the DAG `nightly`."""
