"""The stack file, typed.

One section a concern, `llm-platform:<section>` in `stacks/Pulumi.<stack>.yaml`; unknown keys are refused, defaults are stated
here and nowhere else, and nothing depends on a stack's name.
"""

from settings.files import PROJECT, from_config, from_file, json_schema, load, read_stack_file, secret_values, stack_file
from settings.planning import plan
from settings.sections import Settings

__all__ = [
    "PROJECT",
    "EksClusterSettings",
    "Settings",
    "from_config",
    "from_file",
    "json_schema",
    "load",
    "plan",
    "read_stack_file",
    "secret_values",
    "stack_file",
]
