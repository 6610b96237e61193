"""Dashboards drawn without Grafana, to look at them: `python -m tests.pictures --help`."""
