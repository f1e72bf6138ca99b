"""Raw events and catalogs become clean, partitioned, pseudonymous tables."""
