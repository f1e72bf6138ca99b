"""Where things live and how they travel whole."""
