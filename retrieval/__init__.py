"""What training, serving and monitoring must do alike: tokenization, search indexes, ranking metrics."""
