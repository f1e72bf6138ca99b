"""Ships the database's log, base backups, the event log and objects into the vault."""
