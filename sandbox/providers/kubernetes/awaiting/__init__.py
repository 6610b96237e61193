"""Waiting until an object does its work, and saying why it does not."""
