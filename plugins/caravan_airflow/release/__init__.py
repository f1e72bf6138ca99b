"""Runs the tasks of the DAG `release`."""
