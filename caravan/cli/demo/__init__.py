"""Shows a generated shop, two nights, and the rollout of a release."""
