"""`python -m settings`: the schema of stack files, for editors."""

import json

from settings import json_schema

print(json.dumps(json_schema(), indent=2))  # noqa: T201
