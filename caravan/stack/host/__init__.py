"""Names what this machine gives: programs, their environment, private files, readiness probes."""
