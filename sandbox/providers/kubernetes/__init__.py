"""An emulation of the official pulumi-kubernetes provider (v4.34.2), in the mode with server-side apply.

What differs from the official one stands in DIFFERENCES.md.
"""
