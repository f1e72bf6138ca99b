"""Everything Airflow-specific that is not wiring: the form, the assets, the steps of the chain, links in the UI."""
