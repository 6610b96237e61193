"""The process behind one emulated account: one HTTP address that serves every AWS service the platform uses.

Moto answers, except for EKS, which is the rehearsal's own. The account lives in the memory of this process and ends with it.
"""

import json
import logging
import signal
import threading
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import create_environ, run_wsgi_app

from sandbox.aws import completions, eks, faults, refusals, seeds, states
from sandbox.aws.backends import Backends
from sandbox.aws.calls import Call, buffer_body, recognise
from sandbox.aws.inventory import inventory
from sandbox.aws.quotas import Quotas
from sandbox.aws.tokens import Answer, Answers, Question, fingerprint
from sandbox.control_plane.ports import LOOPBACK

_log = logging.getLogger("aws")

Wsgi: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Application:
    """The account as a WSGI application. `/_sandbox/` is the rehearsal's own, everything else is AWS."""

    def __init__(self, home: Path, region: str, endpoint: str) -> None:
        """An empty account that answers at `endpoint`, once per process: moto's memory belongs to the process."""
        self._transitions = states.Transitions()
        self._quotas = Quotas()
        seeds.install()
        completions.install()
        states.install(self._transitions)
        self._operations = {
            **completions.OPERATIONS,
            ("service-quotas", "GetServiceQuota"): self._quotas.get,
            ("service-quotas", "ListServiceQuotas"): self._quotas.list,
        }
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._eks = eks.application(home, region, endpoint)
        self._answers = Answers()
        self._faults = faults.Faults()
        self._calls: list[dict[str, Any]] = []
        self._moto_lock = threading.Lock()  # moto is made for one thread
        self._urn_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers one request."""
        buffer_body(environ)
        own = environ["PATH_INFO"].startswith("/_sandbox/")
        call = None if own else recognise(environ)
        try:
            answer = self._administer(environ) if own else self._answer(environ, call)
        except Exception as error:  # moto's own errors are answers; this is one of moto's or the rehearsal's programs
            _log.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            message = f"the emulation of AWS failed: {traceback.format_exception_only(error)[-1].strip()}"
            answer = call.refusal("EmulationFailure", message) if call else _json(500, {"message": message})
        start_response(f"{answer.status} -", list(answer.headers))
        return [answer.body]

    def _answer(self, environ: dict[str, Any], call: Call | None) -> Answer:
        if call is None or not call.mutates:
            return self._do(environ, call)
        if not call.token:
            answer = self._do(environ, call)
            self._write_down(call, answer.status)
            return answer
        with self._urn_locks[call.urn]:
            return self._once(environ, call)

    def _once(self, environ: dict[str, Any], call: Call) -> Answer:
        """Does a call with a token, unless it was done before."""
        question = Question(call.token, call.service, call.operation, fingerprint(call.parameters))
        if answer := self._answers.find(call.urn, question):
            self._write_down(call, answer.status, replayed=True)
            return answer
        how = self._faults.strike(call.token)
        if how == "die-before":
            faults.kill(call.pid)
        if how in ("refuse", "die-before"):
            answer = call.refusal(faults.CODE, faults.MESSAGE)
        else:
            answer = self._do(environ, call)
            if answer.succeeded:
                self._answers.keep(call.urn, question, answer)
            if how == "die-after":
                faults.kill(call.pid)
        self._write_down(call, answer.status)
        return answer

    def _do(self, environ: dict[str, Any], call: Call | None) -> Answer:
        if (call is not None and call.service == "eks") or environ["PATH_INFO"].startswith("/_eks/"):
            return _run(self._eks, environ)
        with self._moto_lock:
            self._transitions.settle()
            if call is None:
                return _run(self._moto, environ)
            try:
                refusals.check(call)
                operation = self._operations.get((call.service, call.operation))
                result = operation(Backends(call.region), call.parameters) if operation else None
            except refusals.RefusalError as refusal:
                return call.refusal(refusal.code, refusal.message)
            return _run(self._moto, environ) if result is None else call.answer(result)

    def _write_down(self, call: Call, status: int, replayed: bool = False) -> None:
        entry = {"service": call.service, "operation": call.operation, "urn": call.urn, "status": status, "replayed": replayed}
        self._calls.append(entry)

    def _administer(self, environ: dict[str, Any]) -> Answer:
        route = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO'].removeprefix('/_sandbox/')}"
        try:
            body = json.loads(environ["wsgi.input"].read() or b"{}")
            match route:
                case "GET health":
                    return _json(200, {})
                case "POST acknowledge":
                    with self._urn_locks[body["urn"]]:
                        self._answers.acknowledge(body["urn"], body["id"])
                    return _json(200, {})
                case "POST generation":
                    return _json(200, {"generation": self._answers.generation(body["urn"])})
                case "POST made":
                    with self._urn_locks[body["urn"]]:
                        self._answers.made(body["urn"], body["id"])
                    return _json(200, {})
                case "GET faults":
                    fault = self._faults.fault
                    return _json(200, {"counted": self._faults.counted, "fault": fault and fault.model_dump()})
                case "POST faults":
                    self._faults.set(faults.Fault.model_validate(body))
                    return _json(200, {})
                case "DELETE faults":
                    self._faults.set(None)
                    return _json(200, {})
                case "PUT quotas":
                    self._quotas.set(body)
                    return _json(200, {})
                case "GET inventory":
                    return _json(200, self._inventory())
                case "GET calls":
                    return _json(200, self._calls)
        except (ValueError, KeyError) as error:
            return _json(400, {"message": str(error)})
        return _json(404, {"message": f"there is no {route}"})

    def _inventory(self) -> dict[str, list[str]]:
        clusters = json.loads(_run(self._eks, create_environ("/clusters")).body)["clusters"]
        with self._moto_lock:
            self._transitions.settle()
            found = {**inventory(), "EKS cluster": clusters, "left in a deleted cluster": eks.leaks()}
        return {kind: names for kind, names in found.items() if names}


def serve(home: Path, port: int, region: str) -> None:
    """Serves the account on loopback until SIGTERM, then ends what its clusters started."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for talkative in ("werkzeug", "httpx"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="moto")  # of error codes that botocore has no shape for
    application = Application(home, region, f"http://{LOOPBACK}:{port}")
    server = make_server(LOOPBACK, port, application, threaded=True, request_handler=MotoRequestHandler)

    def end(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for this very thread

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    server.serve_forever(poll_interval=0.1)
    eks.shutdown()


def _run(application: Wsgi, environ: dict[str, Any]) -> Answer:
    body, status, headers = run_wsgi_app(application, environ, buffered=True)
    return Answer(int(status.split()[0]), tuple(headers), b"".join(body))


def _json(status: int, content: Any) -> Answer:
    return Answer(status, (("Content-Type", "application/json"),), json.dumps(content).encode())
