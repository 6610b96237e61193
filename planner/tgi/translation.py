"""A launch of TGI as a model entry of a stack file, with what is missing in it and what cannot be had (verdicts.yaml)."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from planner.profiles import profiles
from planner.tgi.launcher import Elsewhere, SecretRef, Value, newest, release
from planner.tgi.parts import Finding, Given, Kind, Part, Setting, Translation, verdicts
from planner.tgi.sources import TOKENS, Launch

PROFILE = "balanced"
"""What settles the rest of an entry; the default of a model entry."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile("[0-9a-f]{40}")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SECRET_NAME, _SECRET_KEY = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"), re.compile(r"[A-Za-z0-9._-]+")
_ADAPTER = re.compile(r"(?P<id>[^=@]+)(=(?P<path>[^@]+))?(@(?P<revision>.+))?")
"""As TGI reads one (launcher/src/main.rs)."""
_RANKS = (16, 32, 64, 128, 256, 320, 512)
_LONGEST_OF_2 = 4096
"""Tokens that TGI 2 gives prompt and answer at the most unless it is told otherwise (launcher/src/main.rs, max_default)."""


def translate(launch: Launch, given: Given | None = None) -> Translation:
    """The model entry for a launch. Every argument and variable is in it, or in a finding, or at a value without effect."""
    known = given or Given()
    entry: dict[str, Any] = {}
    findings: list[Finding] = []
    for translator in _TRANSLATORS:
        for part in translator(launch, known):
            if isinstance(part, Finding):
                findings.append(part)
            else:
                part.put_into(entry)
    return Translation(name=_name(launch, known), entry=entry, findings=tuple(dict.fromkeys(findings)))


def _name(launch: Launch, given: Given) -> str:
    raw = given.name or launch.name or (given.source or launch.text("--model-id") or "").rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[^a-z0-9]+", "-", raw.lower()).strip("-")
    shorter = re.sub(r"^tgi-|-tgi$", "", plain)[:63].strip("-")
    return shorter if _NAME.fullmatch(shorter) and shorter != "vllm" else "model"


def _source(launch: Launch, given: Given) -> Iterator[Part]:
    model = launch.text("--model-id")
    if given.source:
        yield Setting(("source",), given.source)
    elif model and _REPOSITORY.fullmatch(model):
        yield Setting(("source",), model)
    else:
        reads = f"TGI reads {model}" if model else "the launch names no model"
        yield Finding(
            Kind.MISSING, "source", f"{reads}, and models are fetched by their repository; give it, e.g. --source owner/name"
        )
    revision = given.revision or launch.text("--revision") or ""
    if _COMMIT.fullmatch(revision):
        yield Setting(("revision",), revision)
    else:
        left = f"{revision} can be moved" if revision else "TGI takes the newest"
        yield Finding(Kind.MISSING, "revision", f"{left}, and only a commit stays what it is; give it as --revision")
    if given.node_pool:
        yield Setting(("nodePool",), given.node_pool)
    else:
        yield Finding(Kind.MISSING, "nodePool", "the pool its servers run on; give it as --node-pool")


def _replicas(launch: Launch, _: Given) -> Iterator[Part]:
    if (launch.replicas or 1) > 1:
        yield Setting(("replicas",), launch.replicas)


def _tensor(launch: Launch, _: Given) -> Iterator[Part]:
    """As the launcher finds it (launcher/src/main.rs, find_num_shards): in a pod it sees the accelerators the pod has."""
    shards, sharded, cards = launch.count("--num-shard"), launch.text("--sharded"), launch.accelerators
    if cards is None:
        listed = launch.variables.get("CUDA_VISIBLE_DEVICES") or launch.variables.get("NVIDIA_VISIBLE_DEVICES")
        cards = len(listed.split(",")) if isinstance(listed, str) and listed != "all" else None
    size = shards if shards is not None else 1 if sharded == "false" else cards
    if size is None and sharded == "true":
        yield Finding(
            Kind.MISSING,
            "parallelism.tensor",
            "TGI counts the accelerators of its machine; give how many, e.g. parallelism: {tensor: 2}",
        )
    if size is not None:
        yield Setting(("parallelism", "tensor"), size)
        if cards is not None and size < cards:
            unused = f"its container has {cards} accelerators and TGI uses {size} of them; a server here asks for {size}"
            yield Finding(Kind.CHANGED, "parallelism.tensor", unused)


def _context(launch: Launch, given: Given) -> Iterator[Part]:
    total = given.max_model_len or launch.count("--max-total-tokens")
    flag = "--max-input-tokens" if "--max-input-tokens" in launch.arguments else "--max-input-length"
    version = launch.version or newest()
    positions = given.model.architecture.max_positions if given.model else None
    if total is None and release(version) < (3,):
        total = min(positions or _LONGEST_OF_2, _LONGEST_OF_2)
        why = f"nobody said --max-total-tokens, and TGI {version} takes {_LONGEST_OF_2} or what the model has, if that is less"
        yield Finding(Kind.CHANGED, "maxModelLen", why)
    elif total is None and given.longest and positions:
        total = min(given.longest, positions)
        yield Finding(
            Kind.CHANGED, "maxModelLen", "nobody said --max-total-tokens, and TGI 3 takes what fits; this is what fits vLLM"
        )
    if total is None:
        yield Finding(
            Kind.MISSING,
            "maxModelLen",
            "nobody said --max-total-tokens, and TGI 3 takes what fits; give --max-model-len, or the accelerator as --gpu",
        )
    else:
        yield Setting(("maxModelLen",), total)
    if prompt := launch.count(flag):
        longest = f"{total - 1} tokens" if total else "one token less than maxModelLen"
        yield Finding(Kind.CHANGED, flag, f"prompts may be up to {longest} long instead of {prompt}; vLLM has one limit for both")


def _batches(launch: Launch, _: Given) -> Iterator[Part]:
    usual = int(profiles()[PROFILE]["max_num_seqs"])
    at_once, batch = launch.count("--max-concurrent-requests"), launch.count("--max-batch-size")
    sequences = batch or (min(at_once, usual) if at_once else None)
    if sequences and (batch or sequences < usual):
        yield Setting(("maxNumSeqs",), sequences)
    if at_once:
        # An engine answers 503 beyond what is in a batch and what may wait; the least that may wait is one.
        yield Setting(("limits", "waiting"), max(1, at_once - (sequences or usual)))
    tokens = launch.count("--max-batch-prefill-tokens")
    if tokens and tokens < (sequences or usual):
        yield Finding(
            Kind.DROPPED,
            "--max-batch-prefill-tokens",
            f"{tokens} tokens are less than the {sequences or usual} requests of a batch",
        )
    elif tokens:
        yield Setting(("maxNumBatchedTokens",), tokens)
    if prompts := launch.count("--max-client-batch-size"):
        yield Setting(("limits", "prompts"), min(prompts, 1024))


def _memory(launch: Launch, _: Given) -> Iterator[Part]:
    share = launch.number("--cuda-memory-fraction")
    if share is not None and 0 < share < 1:
        yield Setting(("gpuMemoryUtilization",), share)
    graphs = launch.text("--cuda-graphs")
    if graphs is not None and all(size.strip() in ("", "0") for size in graphs.split(",")):
        yield Setting(("enforceEager",), True)
    elif graphs is not None:
        yield Finding(Kind.DROPPED, "--cuda-graphs", "vLLM chooses the batch sizes that it captures")


def _formats(launch: Launch, given: Given) -> Iterator[Part]:
    dtype, cached, method = launch.text("--dtype"), launch.text("--kv-cache-dtype"), launch.text("--quantize")
    if dtype:
        yield Setting(("dtype",), dtype)
    if cached:
        yield Setting(("kvCacheDtype",), "fp8")
        if cached == "fp8_e5m2":
            yield Finding(Kind.CHANGED, "kvCacheDtype", "fp8 is e4m3 here: more digits and a smaller range than e5m2")
    stored = given.model.quantization.method if given.model else None
    rules = verdicts()["quantize"]
    if method in rules["checkpoint"] or (method == "fp8" and stored):
        yield Finding(Kind.DROPPED, "--quantize", f"{method} is read from the checkpoint itself")
    elif method == "fp8":
        yield Setting(("quantization",), "fp8")
    elif method:
        yield Finding(Kind.REFUSED, f"--quantize {method}", rules["refused"][method])


def _speculation(launch: Launch, _: Given) -> Iterator[Part]:
    if tokens := launch.count("--speculate"):
        yield Setting(("speculative",), {"method": "ngram", "tokens": min(tokens, 32)})
        heads = "the prompt's own words propose tokens, as in TGI for a model without Medusa heads; such heads are not read"
        yield Finding(Kind.CHANGED, "speculative", heads)


def _adapters(launch: Launch, given: Given) -> Iterator[Part]:
    ranks = [1]
    for text in filter(None, (each.strip() for each in (launch.text("--lora-adapters") or "").split(","))):
        parts = _ADAPTER.fullmatch(text)
        if parts is None:
            yield Finding(
                Kind.REFUSED, "--lora-adapters", "one of them is no adapter that TGI could read; write id, id=path or id@revision"
            )
            continue
        name = re.sub(r"[^A-Za-z0-9._-]", "-", parts["id"].rpartition("/")[2]).lstrip("._-") or "adapter"
        facts, where = given.adapters.get(name), ("lora", "adapters", name)
        if name != parts["id"]:
            yield Finding(Kind.CHANGED, f"lora.adapters.{name}", f"clients ask for it as {name} instead of {parts['id']}")
        if _REPOSITORY.fullmatch(parts["id"]) and not parts["path"]:
            yield Setting((*where, "source"), parts["id"])
        else:
            yield Finding(Kind.MISSING, f"lora.adapters.{name}.source", "TGI reads a directory; name the repository it came from")
        revision = facts.revision if facts else parts["revision"] or ""
        if _COMMIT.fullmatch(revision):
            yield Setting((*where, "revision"), revision)
        if facts:
            yield Setting((*where, "rank"), facts.rank)
            ranks.append(facts.rank)
        lacking = [key for key, is_there in (("revision", _COMMIT.fullmatch(revision)), ("rank", facts)) if not is_there]
        if lacking:
            yield Finding(
                Kind.MISSING,
                f"lora.adapters.{name}",
                f"its {' and its '.join(lacking)} (r of adapter_config.json); give --adapter {name}=COMMIT:RANK",
            )
    if max(ranks) > _RANKS[0]:
        yield Setting(("lora", "maxRank"), next((rank for rank in _RANKS if rank >= max(ranks)), max(ranks)))


def _stop(launch: Launch, _: Given) -> Iterator[Part]:
    if seconds := launch.count("--graceful-termination-timeout"):
        yield Setting(("drain", "shutdownTimeout"), min(seconds, 3600))


def _secrets(launch: Launch, _: Given) -> Iterator[Part]:
    if "--api-key" in launch.arguments:
        yield _secret("apiKeySecret", "--api-key", launch.arguments["--api-key"], "api-key")
    for name in TOKENS:
        if name in launch.variables:
            yield _secret("tokenSecret", name, launch.variables[name], "token")
            return


def _secret(setting: str, about: str, value: Value, key: str) -> Part:
    if isinstance(value, SecretRef) and _SECRET_NAME.fullmatch(value.name) and _SECRET_KEY.fullmatch(value.key):
        return Setting((setting,), {"name": value.name, "key": value.key})
    where = value.where if isinstance(value, Elsewhere) else "a Secret whose name cannot be taken over"
    return Finding(
        Kind.MISSING,
        setting,
        f"{about} stands in {where}; put it into a Secret of the models' namespace and name it, e.g. {{name: …, key: {key}}}",
    )


def _caching(launch: Launch, _: Given) -> Iterator[Part]:
    """PREFIX_CACHING in TGI 3, USE_PREFIX_CACHING in 2."""
    for name in ("PREFIX_CACHING", "USE_PREFIX_CACHING"):
        value = launch.variables.get(name)
        if isinstance(value, str):
            yield Setting(("prefixCaching",), value.lower() in ("1", "true"))
            return


def _rest(launch: Launch, _: Given) -> Iterator[Part]:
    """What has no meaning here, what cannot be had, and what could not be read."""
    table = verdicts()
    for flag, value in launch.arguments.items():
        if flag in table["dropped"]:
            yield Finding(Kind.DROPPED, flag, table["dropped"][flag])
        elif flag in table["refused"] and value != "false":
            yield Finding(Kind.REFUSED, flag, table["refused"][flag])
        elif flag in table["translated"] and flag != "--api-key" and not isinstance(value, str):
            where = value.where if isinstance(value, Elsewhere) else f"Secret {value.name}"
            yield Finding(Kind.MISSING, flag, f"it comes from {where} and could not be read; give its value")
    for name, value in launch.variables.items():
        if name in table["variables"]:
            yield Finding(Kind.DROPPED, name, table["variables"][name])
        elif isinstance(value, Elsewhere) and value.where.startswith(("ConfigMap", "Secret")):
            yield Finding(Kind.MISSING, name, "what it sets could not be read; give it in the manifest or by --env FILE")
        elif name not in (*TOKENS, "PREFIX_CACHING", "USE_PREFIX_CACHING"):
            yield Finding(
                Kind.DROPPED,
                name,
                "it is no variable of TGI's launcher; what vLLM needs of it goes into environment, where it is screened",
            )


_TRANSLATORS: tuple[Callable[[Launch, Given], Iterator[Part]], ...] = (
    _source,
    _replicas,
    _tensor,
    _context,
    _batches,
    _memory,
    _formats,
    _caching,
    _speculation,
    _adapters,
    _stop,
    _secrets,
    _rest,
)
"""In the order of a model entry."""
