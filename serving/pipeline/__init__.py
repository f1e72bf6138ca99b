"""Makes an answer of a query, stage by stage."""
