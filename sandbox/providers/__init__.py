"""Emulated Pulumi providers, for machines where the official plugins cannot be had."""
