"""Defines features for Feast, builds the tables behind them, and reads them, as of a time and online."""
