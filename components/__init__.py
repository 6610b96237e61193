"""The component library: everything a stack is made of, usable from any Pulumi program in Python."""
