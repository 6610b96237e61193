"""Adapters of all services but EC2; one module a service."""
