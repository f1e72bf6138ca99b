"""Holds what is specific to Airflow and not wiring: the form, the assets, the steps of the chain, links in the UI."""
