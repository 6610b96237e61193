"""Asks a running model server whether it is what was deployed: `python3 check.py EXPECTATION [KEYFILE]`.

EXPECTATION is the JSON of `Expectation`; KEYFILE holds the API key where the server wants one. Prints one line for every check
and ends with 1 when something is wrong. It needs nothing but the standard library, so it runs in the engine's own image.
"""

import json
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

Expected = Mapping[str, Any]
"""The fields of `Expectation`."""

_NO_SUCH_MODEL = "no-model-has-this-name"
_NO_KEY_IS_THIS = "verification-sends-a-wrong-key"
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)
_MODEL_LABEL = re.compile(r'(?:^|,)model_name="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds."""

    request: float = 30
    """For one answer that costs nothing."""
    answer: float = 120
    """For one answer of the model: the first one may compile kernels."""
    deadline: float = 300
    """For everything to be right: names of replicas that went linger in caches for half a minute."""
    pause: float = 10
    """Between two attempts."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check at one place; `faults` are sentences, none when all is well."""

    where: str
    check: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, or None where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


Check = Callable[["Server", Expected], list[str]]
"""A check returns what is wrong, each as the rest of a sentence that names the place."""


class Unusable(Exception):  # noqa: N818 - not an error of this program
    """A server that gives no answer, so that nothing more needs to be asked. Its text is the rest of a sentence, as a check's."""


@dataclass(frozen=True)
class Server:
    """One place that answers for the model."""

    where: str
    """As sentences name it, e.g. `replica 10.0.1.2`."""
    base: str
    key: str | None = None
    patience: Patience = field(default_factory=Patience)

    def get(self, path: str, key: str | None = None) -> Answer:
        """Raises Unusable."""
        return self._ask(path, None, key, self.patience.request)

    def post(self, path: str, body: Mapping[str, Any], key: str | None = None) -> Answer:
        """Raises Unusable."""
        return self._ask(path, json.dumps(body).encode(), key, self.patience.answer)

    def _ask(self, path: str, body: bytes | None, key: str | None, seconds: float) -> Answer:
        headers = {"Content-Type": "application/json"} if body else {}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.base}{path}", data=body, headers=headers)  # noqa: S310 - http, made here
        # No proxy of the environment stands between pods.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=seconds) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())
        except TimeoutError:
            raise Unusable(f"did not answer {path} within {seconds:g} seconds") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise Unusable(f"did not accept a connection within {seconds:g} seconds") from None
            raise Unusable(f"did not answer {path} ({reason})") from None


def check_server(server: Server, expected: Expected) -> list[Finding]:
    """Every check of one server, in the order in which a fault of one explains the next."""
    checks: dict[str, Check] = {
        "health": _health,
        "version": _version,
        "API key": _key,
        "models": _models,
        "answer": _answer,
        "adapters": _adapters,
        "unknown model": _unknown_model,
        "metrics": _metrics,
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            faults = check(server, expected)
        except Unusable as fault:
            findings.append(_finding(server, name, [_with_log(fault, expected)]))
            break
        findings.append(_finding(server, name, faults))
    return findings


def _finding(server: Server, check: str, faults: Sequence[str]) -> Finding:
    return Finding(server.where, check, tuple(f"{server.where} {fault}" for fault in faults))


def _with_log(fault: Unusable, expected: Expected) -> str:
    log = f"kubectl -n {expected['namespace']} logs -l {_selector(expected)} -c {expected['container']}"
    return f"{fault}; see what the engine wrote with `{log}`"


def _health(server: Server, _: Expected) -> list[str]:
    status = server.get("/health").status
    if status != 200:
        raise Unusable(f"answers /health with {status}, so its engine is dead; Kubernetes restarts it")
    return []


def _version(server: Server, expected: Expected) -> list[str]:
    said = server.get("/version").json()
    version = str(said.get("version", "")) if isinstance(said, Mapping) else ""
    # A build for another accelerator adds its name: 0.33.0+rocm100.
    if version.partition("+")[0] == expected["engine_version"]:
        return []
    found = f"runs vLLM {version}" if version else "does not say which version it runs"
    return [f"{found}, planned was {expected['engine_version']}; make engine.version and engine.image of the model agree"]


def _key(server: Server, expected: Expected) -> list[str]:
    if not expected["needs_key"]:
        if server.get("/v1/models").status == 401:
            return ["asks for an API key although none was planned; remove VLLM_API_KEY and --api-key, or set apiKeySecret"]
        return []
    faults = []
    for sent, key in (("without the API key", None), ("with a wrong API key", _NO_KEY_IS_THIS)):
        status = _request_answer(server, expected, expected["served_names"][0], key).status
        if status != 401:
            faults.append(f"answers a request {sent} with {status} instead of 401; start the engine with its key in VLLM_API_KEY")
    if server.get("/v1/models", server.key).status == 401:
        faults.append("refuses the API key of the Secret; it reads the key when it starts, so restart its pods after a change")
    return faults


def _models(server: Server, expected: Expected) -> list[str]:
    answer = server.get("/v1/models", server.key)
    content = answer.json()
    cards = content.get("data") if isinstance(content, Mapping) else None
    if answer.status != 200 or not isinstance(cards, list):
        return [f"answers /v1/models with {answer.status} and no list; is it a server of the OpenAI API at all?"]
    # An adapter is a card with a parent.
    parents = {str(card.get("id")): card.get("parent") for card in cards if isinstance(card, Mapping)}
    models = {name for name, parent in parents.items() if parent is None}
    adapters = set(parents) - models
    faults = []
    if models != set(expected["served_names"]):
        wanted = _names(expected["served_names"])
        faults.append(f"serves {_names(models)}, planned was {wanted}; --served-model-name must be followed by exactly {wanted}")
    if missing := set(expected["adapters"]) - adapters:
        faults.append(f"lacks the adapter {_names(missing)}; check --lora-modules, and that its directory is in the cache")
    if strange := adapters - set(expected["adapters"]):
        faults.append(f"has the adapter {_names(strange)} that nobody planned; name it under lora.adapters, or unload it")
    return faults


def _answer(server: Server, expected: Expected) -> list[str]:
    name = expected["served_names"][0]
    return _faults_of_answer(_request_answer(server, expected, name, server.key), expected, name)


def _adapters(server: Server, expected: Expected) -> list[str]:
    return [
        fault
        for name in expected["adapters"]
        for fault in _faults_of_answer(_request_answer(server, expected, name, server.key), expected, name)
    ]


def _request_answer(server: Server, expected: Expected, name: str, key: str | None) -> Answer:
    """One short answer of a model. The raw interfaces, since a model may have no chat template."""
    if expected["task"] == "embed":
        return server.post("/v1/embeddings", {"model": name, "input": "One, two, three"}, key)
    body = {"model": name, "prompt": "One, two, three,", "max_tokens": 8, "temperature": 0}
    return server.post("/v1/completions", body, key)


def _faults_of_answer(answer: Answer, expected: Expected, name: str) -> list[str]:
    if answer.status != 200:
        return [f"answers a request to {name!r} with {answer.status} ({_message(answer)}); the engine's log has the cause"]
    content = answer.json()
    if not isinstance(content, Mapping):
        return [f"answers a request to {name!r} with something that is not JSON; is there a proxy in front of it?"]
    if content.get("model") != name:
        return [f"answers a request to {name!r} as {content.get('model')!r}; clients would get another model than they asked for"]
    if expected["task"] == "embed":
        vector = (_first(content, "data") or {}).get("embedding")
        good = isinstance(vector, list) and any(isinstance(number, (int, float)) and number for number in vector)
        return [] if good else [f"gives no embedding for {name!r} but {str(vector)[:40]}; is the checkpoint whole?"]
    choice = _first(content, "choices") or {}
    tokens = (content.get("usage") or {}).get("completion_tokens") or 0
    # A model may end at once, but what was cut off for its length has some text.
    if tokens and (choice.get("text") or choice.get("finish_reason") == "stop"):
        return []
    return [f"generates nothing for {name!r}; compare the checkpoint's files with their source, and check quantization"]


def _unknown_model(server: Server, expected: Expected) -> list[str]:
    status = _request_answer(server, expected, _NO_SUCH_MODEL, server.key).status
    if status == 404:
        return []
    return [f"answers a request to a model that does not exist with {status} instead of 404; is it vLLM that answers here?"]


def _metrics(server: Server, expected: Expected) -> list[str]:
    """After the requests above: some metrics appear, and all counters count, with the first one."""
    answer = server.get("/metrics")
    if answer.status != 200:
        return [f"answers /metrics with {answer.status}; dashboards, alerts and scaling have nothing to read"]
    samples = _SAMPLE.findall(answer.body.decode("utf-8", "replace"))
    names = {name for name, _, _ in samples}
    if missing := sorted(set(expected["metrics"]) - names):
        if len(missing) == len(expected["metrics"]):
            return ["has none of vLLM's metrics; remove --disable-log-stats"]
        version = expected["engine_version"]
        return [f"lacks the metrics {', '.join(missing)}, which vLLM {version} has; is the image another version?"]
    models = {found[1] for _, labels, _ in samples if (found := _MODEL_LABEL.search(labels))}
    if models != {expected["served_names"][0]}:
        wanted = expected["served_names"][0]
        return [f"names {_names(models)} in its metrics, planned was {wanted!r}; it must stand first after --served-model-name"]
    if not any(float(value) > 0 for name, _, value in samples if name == "vllm:prompt_tokens_total"):
        return ["has counted no token although it has answered; its metrics are not those of the process that answers"]
    return []


def _first(content: Mapping[str, Any], key: str) -> Any:
    entries = content.get(key)
    return entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], Mapping) else None


def _message(answer: Answer) -> str:
    content = answer.json()
    error = content.get("error") if isinstance(content, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else error
    return " ".join(str(said or answer.body.decode("utf-8", "replace")).split())[:200] or "no reason given"


def _names(names: Any) -> str:
    return ", ".join(repr(str(name)) for name in sorted(names)) or "nothing"


def _selector(expected: Expected) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(expected["selector"].items()))


def addresses(host: str, port: int) -> list[str]:
    """Base addresses of everything a host name leads to, sorted; empty when that is nothing."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except socket.gaierror:
        return []
    return [f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}" for address in sorted(found)]


def check_model(
    expected: Expected, replicas: Mapping[str, str], entrance: str | None, key: str | None, patience: Patience
) -> list[Finding]:
    """Every check of every replica, and whether the Service leads to one; once.

    `replicas` has the base addresses of the ready replicas by what sentences call them, `entrance` is that of the Service clients
    use; None where it has no address.
    """
    service, namespace = expected["service"], expected["namespace"]
    faults = []
    least, most = expected["replicas"], expected["most_replicas"]
    if not least <= len(replicas) <= most:
        pods = f"kubectl -n {namespace} get pods -l {_selector(expected)}"
        faults.append(
            f"{expected['replicas_service']} leads to {len(replicas)} ready replicas, planned were "
            f"{least if least == most else f'{least} to {most}'}; "
            f"see which ones are missing with `{pods}`"
        )
    findings = [Finding("all replicas", "number", tuple(faults))]
    for where, base in replicas.items():
        findings += check_server(Server(where, base, key, patience), expected)
    return [*findings, _through(Server(f"the Service {service}", entrance or "", key, patience), expected)]


def _through(entrance: Server, expected: Expected) -> Finding:
    """Whether the Service leads to the model."""
    if not entrance.base:
        return _finding(
            entrance,
            "models",
            [f"leads nowhere; see `kubectl -n {expected['namespace']} describe service {expected['service']}`"],
        )
    try:
        return _finding(entrance, "models", _models(entrance, expected))
    except Unusable as fault:
        return _finding(entrance, "models", [_with_log(fault, expected)])


def until_right(attempt: Callable[[], list[Finding]], patience: Patience) -> list[Finding]:
    """The findings of the first attempt without a fault, or of the last one before the deadline."""
    end = time.monotonic() + patience.deadline
    while True:
        findings = attempt()
        if not any(finding.faults for finding in findings) or time.monotonic() + patience.pause > end:
            return findings
        time.sleep(patience.pause)


def main(arguments: Sequence[str]) -> int:
    """Exit code."""
    expected = json.loads(Path(arguments[0]).read_text())
    key = Path(arguments[1]).read_text().strip() if len(arguments) > 1 else None
    patience = Patience()

    def attempt() -> list[Finding]:
        hosts = (f"{expected[name]}.{expected['namespace']}.svc" for name in ("replicas_service", "service"))
        replicas, entrances = (addresses(host, expected["port"]) for host in hosts)
        named = {f"replica {base.removeprefix('http://')}": base for base in replicas}
        return check_model(expected, named, next(iter(entrances), None), key, patience)

    findings = until_right(attempt, patience)
    for finding in findings:
        sys.stdout.write(f"{'WRONG' if finding.faults else 'ok':5}  {finding.where}: {finding.check}\n")
    faults = [fault for finding in findings for fault in finding.faults]
    # Last, since Kubernetes keeps the end of the log as the reason of a failure.
    sys.stdout.writelines(f"error: {fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
