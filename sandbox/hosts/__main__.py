"""The lab's process: `python -m sandbox.hosts serve --home DIR --port PORT --cluster DIR`."""

import argparse
import os
from pathlib import Path

from sandbox.hosts.service import serve

parser = argparse.ArgumentParser(description="Runs rehearsed hosts: SSH servers and what their stand-ins ask.")
commands = parser.add_subparsers(dest="command", required=True)
command = commands.add_parser("serve", help="until SIGTERM")
command.add_argument(
    "--home", required=True, type=Path, help="directory for the hosts, with the login key and the key of this interface"
)
command.add_argument("--port", required=True, type=int, help="of its interface on 127.0.0.1")
command.add_argument("--cluster", required=True, type=Path, help="directory of the control plane that the hosts join")
arguments = parser.parse_args()
os.umask(0o022)  # files of the hosts are as they are on hosts; the directory around them is private
serve(arguments.home, arguments.port, (arguments.home / "key").read_text(encoding="utf-8"), arguments.cluster)
