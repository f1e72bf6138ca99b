"""Feast definitions, and the feature tables behind them."""
