"""Draws forms, links and pages in Airflow."""
