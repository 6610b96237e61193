"""What a request asks of AWS, read from the request as AWS's own clients write it."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import UnknownServiceError
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from werkzeug.exceptions import HTTPException

from sandbox.aws.tokens import Answer

TOKEN_HEADER = "x-sandbox-token"  # noqa: S105
"""`<urn>#<n>`: the resource a call is made for, and the number of the mutating call within one operation on it."""
PID_HEADER = "x-sandbox-pid"
"""The process that makes the call."""

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[^/]*)/(?P<service>[^/]+)/aws4_request")
_READING = re.compile(r"(BatchGet|Describe|Get|Head|List|Lookup)[A-Z]")

# Services whose requests are signed with another name than botocore has for them.
_BOTOCORE_NAMES = {
    "elasticfilesystem": "efs",
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
    "tagging": "resourcegroupstaggingapi",
}


@dataclass(frozen=True)
class Call:
    """One call of an AWS operation."""

    service: str
    """As botocore names it."""
    operation: str
    region: str
    parameters: dict[str, Any]
    """By the names AWS has for them."""
    urn: str
    """Of the resource it is made for; empty when the client is not the rehearsal's provider."""
    token: str
    """Empty likewise."""
    pid: int | None
    model: Any
    """Moto's model of the operation."""
    content_type: str

    @property
    def mutates(self) -> bool:
        """Whether it may change the account."""
        return not _READING.match(self.operation)

    def refusal(self, code: str, message: str) -> Answer:
        """An error, in the form the service's clients expect."""
        return self.answer(type(code, (Exception,), {"code": code, "message": message, "__module__": __name__})(message))

    def answer(self, result: Mapping[str, Any] | Exception) -> Answer:
        """A result by AWS's names, or an error, in that form."""
        protocol = determine_request_protocol(self.model.service_model, self.content_type)
        serialized = get_serializer_class(self.service, protocol)(operation_model=self.model).serialize(result)
        body = serialized["body"].encode() if isinstance(serialized["body"], str) else serialized["body"]
        return Answer(serialized["status_code"], tuple(serialized["headers"].items()), body)


def buffer_body(environ: dict[str, Any]) -> None:
    """Makes the request's body readable more than once; a chunked body becomes one of known length."""
    known = None if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
    content = environ["wsgi.input"].read(known)
    environ["wsgi.input"] = io.BytesIO(content)
    environ["CONTENT_LENGTH"] = str(len(content))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ.pop("wsgi.input_terminated", None)


def recognise(environ: dict[str, Any]) -> Call | None:
    """The call in a signed request whose body is buffered; None for what is not signed or no operation botocore knows."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return None
    name = _BOTOCORE_NAMES.get(scope["service"], scope["service"])
    request = Request(environ, shallow=False)
    try:
        model, path = get_service_router(name).match(request)
        parameters = _parameters(model, request, path)
    except (HTTPException, UnknownServiceError, NotImplementedError):
        return None
    finally:
        environ["wsgi.input"].seek(0)
    token, pid = (environ.get(f"HTTP_{header.upper().replace('-', '_')}", "") for header in (TOKEN_HEADER, PID_HEADER))
    return Call(
        service=name,
        operation=model.name,
        region=scope["region"],
        parameters=parameters,
        urn=token.rpartition("#")[0],
        token=token,
        pid=int(pid) if pid.isdigit() else None,
        model=model,
        content_type=request.content_type or "",
    )


def _parameters(model: Any, request: Request, path: Mapping[str, Any]) -> dict[str, Any]:
    """What the call was given; nothing for a body that is no document, as of S3's objects."""
    protocol = determine_request_protocol(model.service_model, request.content_type)
    if model.has_streaming_input:
        return dict(path)
    written = {
        "method": request.method,
        "values": request.values,
        "headers": request.headers,
        "body": request.get_data(),
        "url_path": request.path,
        "url_params": path,
    }
    return dict(PROTOCOL_PARSERS[protocol](model).parse(written))
