"""Makes an answer to a query, stage by stage."""
