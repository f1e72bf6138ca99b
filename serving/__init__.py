"""Serves a release bundle over HTTP. Runs exported programs only: imports neither torch nor training."""
