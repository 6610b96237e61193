"""Started by the engine: by Pulumi's language host, or by the executable in bin/, both as `python plugin ENGINE`."""

import sys
from pathlib import Path

# Python has put this directory first, which holds modules of the package; what is above it holds the package and the components.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from plugin.provider import host  # noqa: E402 - found by the line above

host(sys.argv[1:])
