"""Makes and checks the secrets of a home, and the certificates of its engines."""
