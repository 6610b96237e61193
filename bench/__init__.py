"""Benchmarks. They measure and print; nothing here is a test."""
