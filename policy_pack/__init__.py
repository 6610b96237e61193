"""The policy pack: rules over what a Pulumi program registers, checked by the engine in every preview and update.

It shares the validators of `components`, and depends on nothing else of this project: other teams can run it over their programs.
"""
