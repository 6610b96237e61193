"""Capacity planning without Pulumi: pure functions over catalogues of hardware and models."""
