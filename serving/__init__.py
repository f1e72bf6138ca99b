"""A release bundle -> answers over HTTP. Runs exported programs only: imports neither torch nor training."""
