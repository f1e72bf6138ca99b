"""The demo: a generated shop, two nights, a release on its way."""
