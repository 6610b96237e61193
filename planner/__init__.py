"""Capacity planning without Pulumi: pure functions over catalogues of hardware and models.

`planner.model.load` reads a model from its `config.json`, `planner.memory.fit` says what it can do on an accelerator,
`planner.capacity.search` where it would run best, and `planner.stack.plan_stack` plans all models of a stack together. `python -m
planner` asks the same on the command line. docs/planner.md tells how it reckons.
"""
