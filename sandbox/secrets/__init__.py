"""Secrets of a rehearsal: values made up for those that cannot be known here, and the key that opens what is sealed."""
