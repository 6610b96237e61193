"""The account's process: `python -m sandbox.aws serve --home DIR --port PORT --region REGION`."""

import argparse
from pathlib import Path

from sandbox.aws.server import serve

parser = argparse.ArgumentParser(description="Serves one emulated AWS account on loopback.")
commands = parser.add_subparsers(dest="command", required=True)
command = commands.add_parser("serve", help="until SIGTERM")
command.add_argument("--home", required=True, type=Path, help="directory for what the account's clusters write")
command.add_argument("--port", required=True, type=int, help="on 127.0.0.1")
command.add_argument("--region", required=True, help="the region of the rehearsed stack, e.g. us-east-1")
arguments = parser.parse_args()
serve(arguments.home, arguments.port, arguments.region)
