"""`caravan …`: one file per subject, each command one call into a room."""
