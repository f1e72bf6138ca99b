"""The words every room shares; this room imports nothing of ours."""
