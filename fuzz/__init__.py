"""Coverage-guided fuzzing of the parsers of outside bytes: ``make fuzz SECONDS=60``."""
