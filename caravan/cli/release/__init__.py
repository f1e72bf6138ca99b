"""Commands on releases and canaries."""
