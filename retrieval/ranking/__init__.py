"""Names candidates by several sources, weighs them, chooses among them, and says what carried each."""
