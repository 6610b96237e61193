"""Started by the engine: by the analyzer beside this file, or by Pulumi's language host, both as `python policy_pack ENGINE`."""

import sys
from pathlib import Path

# Python has put this directory first, which holds modules of the package; what is above it holds the package and what it shares.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from policy_pack.server import serve  # noqa: E402 - found by the line above

serve()
