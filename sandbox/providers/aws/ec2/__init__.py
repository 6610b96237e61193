"""Adapters of EC2, one module a family."""
