"""REST-JSON answered from botocore's own service model: routes, input, output and errors are as that model says.

A handler is a method named like its operation in snake case. It gets the parameters by their names in the model, and returns the
output the same way. Input and output are both validated: a client's mistake is its error, ours is a 500 that names it.
"""

import base64
import binascii
import contextvars
import json
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from botocore import xform_name
from botocore.loaders import create_loader
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from sandbox.aws.eks.errors import EksError, invalid_parameter

Parameters: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Parameters], Parameters]
Environ: TypeAlias = Mapping[str, Any]
StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]

ACCESS_KEY: contextvars.ContextVar[str] = contextvars.ContextVar("access_key", default="")
"""The access key id that signed the request being answered."""

_PAGE = 100
_CREDENTIAL = re.compile(r"Credential=([^/,]+)/")


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    literals: int
    operation: OperationModel


class Service:
    """A WSGI application for one AWS service."""

    def __init__(
        self, service: str, lock: AbstractContextManager[Any], parts: Sequence[object], private: Mapping[str, Handler]
    ) -> None:
        """`parts` are objects whose methods handle operations, one at a time; `private` are POST routes of ours."""
        self._lock = lock
        loader = create_loader()
        self._model = ServiceModel(loader.load_service_model(service, "service-2"), service)
        self._paginators = loader.load_service_model(service, "paginators-1")["pagination"]
        operations = [self._model.operation_model(name) for name in self._model.operation_names]
        self._routes = sorted(map(_route, operations), key=lambda route: -route.literals)
        self._handlers = {
            operation.name: getattr(part, xform_name(operation.name))
            for part in parts
            for operation in operations
            if hasattr(part, xform_name(operation.name))
        }
        self._private = private

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        """Answers one request."""
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        token = ACCESS_KEY.set(found[1] if found else "")
        try:
            with self._lock:
                status, answer, headers = 200, self._answer(environ), []
        except EksError as error:
            status = self._status_of(error.code)
            answer = {"__type": error.code, "message": error.message, **error.members}
            headers = [("x-amzn-ErrorType", error.code)]
        except Exception as error:  # whatever it is, the client must hear of it and the service must live on
            traceback.print_exc()
            status = 500
            answer = {"__type": "ServerException", "message": f"the rehearsal's own mistake: {type(error).__name__}: {error}"}
            headers = [("x-amzn-ErrorType", "ServerException")]
        finally:
            ACCESS_KEY.reset(token)
        body = json.dumps(answer).encode()
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status} {'OK' if status == 200 else 'Error'}", headers)
        return [body]

    def _answer(self, environ: Environ) -> Parameters:
        path, method = environ.get("PATH_INFO", "/"), environ["REQUEST_METHOD"]
        if method == "POST" and path in self._private:
            return self._private[path](_body(environ))
        for route in self._routes:
            matched = route.pattern.fullmatch(path)
            if route.method == method and matched:
                return self._operate(route.operation, _parameters(route.operation, matched.groupdict(), environ))
        raise EksError("UnknownOperationException", f"{self._model.service_name} has no operation at {method} {path}.")

    def _operate(self, operation: OperationModel, parameters: Parameters) -> Parameters:
        if operation.name not in self._handlers:
            raise EksError("NotImplementedException", f"The rehearsal's {self._model.service_name} does not do {operation.name}.")
        if mistakes := _mistakes(parameters, operation.input_shape):
            raise invalid_parameter(mistakes)
        output = self._page(operation.name, parameters, self._handlers[operation.name](parameters))
        if mistakes := _mistakes(output, operation.output_shape):
            raise TypeError(f"the answer of {operation.name} is not as its model says: {mistakes}")
        answer: Parameters = _serialised(output, operation.output_shape)
        return answer

    def _page(self, operation: str, parameters: Parameters, output: Parameters) -> Parameters:
        """A handler returns the whole list; the client gets its page."""
        if operation not in self._paginators:
            return output
        key, size = self._paginators[operation]["result_key"], parameters.get("maxResults", _PAGE)
        start = _offset(parameters["nextToken"]) if "nextToken" in parameters else 0
        rest = output[key][start + size :]
        return output | {key: output[key][start : start + size]} | ({"nextToken": _token(start + size)} if rest else {})

    def _status_of(self, code: str) -> int:
        if code == "NotImplementedException":
            return 501
        if code == "UnknownOperationException":
            return 404
        shape = self._model.shape_for(code)
        return int(shape.metadata["error"]["httpStatusCode"])


def _route(operation: OperationModel) -> _Route:
    """ARNs have slashes, which a server may have decoded already: labels of ARNs match more than one segment."""
    uri = operation.http["requestUri"]
    pattern = re.sub(
        r"\\\{(\w+)\\\}", lambda label: f"(?P<{label[1]}>{'.+' if label[1].endswith('Arn') else '[^/]+'})", re.escape(uri)
    )
    literals = sum(not segment.startswith("{") for segment in uri.split("/"))
    return _Route(operation.http["method"], re.compile(pattern), literals, operation)


def _parameters(operation: OperationModel, labels: Mapping[str, str], environ: Environ) -> Parameters:
    """The members of the input by their names in the model; what is unknown in the body stays, to be refused."""
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    body = _body(environ)
    parameters: Parameters = {}
    for member, shape in operation.input_shape.members.items():
        name = shape.serialization.get("name", member)
        match shape.serialization.get("location"):
            case "uri":
                parameters[member] = labels[name]
            case "querystring":
                if name in query:
                    parameters[member] = _from_query(query[name], shape)
            case _:
                if name in body:
                    parameters[member] = body.pop(name)
    return parameters | body


def _from_query(values: list[str], shape: Shape) -> Any:
    match shape.type_name:
        case "list":
            return values
        case "boolean" if values[0] in ("true", "false"):
            return values[0] == "true"
        case "integer" if values[0].isdecimal():
            return int(values[0])
        case _:
            return values[0]


def _body(environ: Environ) -> Parameters:
    raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        body = json.loads(raw or b"{}")
    except ValueError as error:
        raise invalid_parameter(f"The request body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise invalid_parameter("The request body is no JSON object.")
    return body


def _mistakes(parameters: Parameters, shape: StructureShape) -> str:
    """What botocore finds wrong, and the constraints it leaves to the service; empty when all is well."""
    report = ParamValidator().validate(parameters, shape)
    return report.generate_report() if report.has_errors() else "; ".join(_constraints(parameters, shape, ""))


def _constraints(value: Any, shape: Shape, where: str) -> Iterable[str]:
    match shape.type_name:
        case "structure":
            for name, member in shape.members.items():
                if name in value:
                    yield from _constraints(value[name], member, f"{where}.{name}".lstrip("."))
        case "list":
            for item in value:
                yield from _constraints(item, shape.member, where)
        case "map":
            for key, item in value.items():
                yield from _constraints(key, shape.key, f"{where} key")
                yield from _constraints(item, shape.value, f"{where}.{key}")
        case "string":
            if shape.enum and value not in shape.enum:
                yield f"Value '{value}' at '{where}' is none of {', '.join(shape.enum)}"
            if "pattern" in shape.metadata and not re.search(shape.metadata["pattern"], value):
                yield f"Value '{value}' at '{where}' does not match {shape.metadata['pattern']}"
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
    if size is not None and size > shape.metadata.get("max", size):
        yield f"{where} is {size} where at most {shape.metadata['max']} is allowed"


def _serialised(value: Any, shape: Shape) -> Any:
    match shape.type_name:
        case "structure":
            return {
                shape.members[name].serialization.get("name", name): _serialised(item, shape.members[name])
                for name, item in value.items()
            }
        case "list":
            return [_serialised(item, shape.member) for item in value]
        case "map":
            return {key: _serialised(item, shape.value) for key, item in value.items()}
        case "timestamp":
            moment: datetime = value
            return moment.timestamp()  # the REST-JSON protocol's default in bodies; the model names no other
    return value


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode()


def _offset(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error) as error:
        raise invalid_parameter(f"{token!r} is no nextToken of an earlier answer.") from error
