"""`aws eks get-token` against the rehearsal's account: prints an ExecCredential with a client certificate for the caller.

The caller is whoever AWS_ACCESS_KEY_ID belongs to, as the account's STS says; with --role-arn it is that role.
"""

import argparse
import json
import os
import sys
from typing import NoReturn

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox import plain_http

_ROUTE = "/_eks/credentials"
_VERSIONS = ("client.authentication.k8s.io/v1beta1", "client.authentication.k8s.io/v1")
_NEEDED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_TIMEOUT_S = 30.0
_ERROR = 255
"""The exit status of the AWS CLI when a service refuses; 252 when it cannot read its command line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _fail(
            "the rehearsal's aws does `aws eks get-token --cluster-name NAME [--region REGION] [--role-arn ARN] [--output json]` "
            f"and nothing else: {message}",
            252,
        )


def main(arguments: list[str]) -> None:
    """Prints the credential, or one sentence on standard error."""
    asked = _parser().parse_args(arguments)
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        _fail(f"{', '.join(missing)} is not set; `python -m sandbox status` tells how to reach the rehearsal's account")
    region = asked.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        _fail("You must specify a region; give --region or set AWS_REGION")
    wanted = {"clusterName": asked.cluster_name} | ({"roleArn": asked.role_arn} if asked.role_arn else {})
    found = _ask(region, wanted)
    credential = {
        "kind": "ExecCredential",
        "apiVersion": _api_version(),
        "spec": {},
        "status": {
            "expirationTimestamp": found["expires"],
            "clientCertificateData": found["certificate"],
            "clientKeyData": found["key"],
        },
    }
    sys.stdout.write(json.dumps(credential) + "\n")


def _parser() -> _Parser:
    parser = _Parser(prog="aws", add_help=False, allow_abbrev=False)
    parser.add_argument("service", choices=["eks"])
    parser.add_argument("command", choices=["get-token"])
    parser.add_argument("--cluster-name", required=True)
    parser.add_argument("--role-arn")
    parser.add_argument("--region")
    parser.add_argument("--output", choices=["json"])
    return parser


def _ask(region: str, wanted: dict[str, str]) -> dict[str, str]:
    url = os.environ["AWS_ENDPOINT_URL"].rstrip("/") + _ROUTE
    request = AWSRequest("POST", url, data=json.dumps(wanted), headers={"Content-Type": "application/json"})
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ.get("AWS_SESSION_TOKEN"))
    SigV4Auth(keys, "eks", region).add_auth(request)
    try:
        response = plain_http.request("POST", url, content=request.data, headers=dict(request.headers), timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        _fail(f"the rehearsal's AWS account at {url} does not answer: {error}")
    try:
        answer: dict[str, str] = response.json()
    except ValueError:
        _fail(
            f"{url} answered {response.status_code} and no JSON; AWS_ENDPOINT_URL must be the address of the rehearsal's account"
        )
    if not response.is_success:
        _fail(f"An error occurred ({answer.get('__type', response.status_code)}): {answer.get('message', response.text)}")
    return answer


def _api_version() -> str:
    """What kubectl asks for, when it asks."""
    asked = json.loads(os.environ.get("KUBERNETES_EXEC_INFO") or "{}").get("apiVersion")
    return asked if asked in _VERSIONS else _VERSIONS[0]


def _fail(sentence: str, status: int = _ERROR) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
