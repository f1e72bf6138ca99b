"""Does what training and serving must do alike: tokenization, search indexes, text vectors, ranking metrics."""
