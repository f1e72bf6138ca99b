"""Runs the tasks of the DAGs that recover, back up, rehearse and fail back."""
