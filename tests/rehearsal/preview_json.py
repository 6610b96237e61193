"""Print what `pulumi preview --json` prints: `python -m tests.rehearsal.preview_json STACK [FLAG...]`, in a project's directory.

The engine is asked by its command line; the program runs in this process, as in every rehearsal.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc  # type: ignore[import-untyped]
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

from sandbox.engine import Engine
from sandbox.project import Project


def main(stack: str, *flags: str) -> None:
    with Engine.open(Project.find(Path.cwd()).stack(stack)) as engine:
        automation = engine._automation
        program = automation.workspace.program
        assert program is not None
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(program), server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        command = ["preview", "--json", *flags, f"--client={address}", "--exec-kind", "auto.inline"]
        try:
            print(automation._run_pulumi_cmd_sync(command).stdout)  # noqa: T201
        finally:
            server.stop(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
