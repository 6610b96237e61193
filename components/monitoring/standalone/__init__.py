"""Prometheus, Alertmanager and Grafana as objects of our own."""
