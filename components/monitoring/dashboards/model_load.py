"""What a model is asked for, and what that does to its queue, its cache and its failures."""

from .board import Row
from .panels import Colour, Graph, Query, Unit

ONE = '{namespace="$namespace",model_name="$model"}'
QUIET = "no requests in 5 minutes"
SILENT = "no engine of this model answers"
NO_TEXT = "no tokens in 5 minutes, or a model that makes no text"


def load() -> Row:
    lengths = [
        Query(f"max(llm:{what}_length_tokens:{quantile}_5m{ONE})", f"{title} {quantile}")
        for what, title in (("prompt", "prompt"), ("generation", "answer"))
        for quantile in ("p50", "p95")
    ]
    return Row(
        "Load",
        [
            Graph(
                title="Requests by how they ended",
                why="Requests that ended per second: stop is a whole answer, length one that was cut at its limit, abort a client"
                " that went.",
                queries=[Query(f"sum by (finished_reason) (llm:requests:rate5m{ONE})", "{{finished_reason}}")],
                colours={"stop": Colour.GOOD, "length": Colour.CALM, "abort": Colour.LOOK, "error": Colour.BAD},
                unit=Unit.REQUESTS_PER_SECOND,
                empty=QUIET,
                stacked=True,
            ),
            Graph(
                title="Tokens",
                why="Tokens per second. Those from the prefix cache are part of those read.",
                queries=[
                    Query(f"sum(llm:prompt_tokens:rate5m{ONE})", "read"),
                    Query(f"sum(llm:prompt_tokens_cached:rate5m{ONE})", "from the prefix cache"),
                    Query(f"sum(llm:generation_tokens:rate5m{ONE})", "made"),
                ],
                unit=Unit.TOKENS_PER_SECOND,
                empty=QUIET,
            ),
            Graph(
                title="Tokens per request",
                why="How long prompts and answers are. A change here explains a change of latency without a change of load.",
                queries=lengths,
                unit=Unit.TOKENS,
                empty=QUIET,
            ),
        ],
    )


def queue() -> Row:
    return Row(
        "Queue and KV cache",
        [
            Graph(
                title="Running and waiting",
                why="Requests in all replicas. The dashed line is how many the plan lets them compute at once.",
                queries=[
                    Query(f"sum(llm:model_requests_running:sum{ONE})", "running"),
                    Query(f"sum(llm:model_requests_waiting:sum{ONE})", "waiting"),
                ],
                colours={"running": Colour.GOOD, "waiting": Colour.LOOK},
                limit=Query(f"max(llm:planned_max_num_seqs{ONE}) * sum(llm:replicas_ready{ONE})", "planned at once"),
                unit=Unit.COUNT,
                empty=SILENT,
            ),
            Graph(
                title="Waiting by replica",
                why="Requests in the queue of each replica. One long queue beside short ones: requests are spread badly.",
                queries=[Query(f"sum by (pod) (llm:requests_waiting{ONE})", "{{pod}}")],
                unit=Unit.COUNT,
                empty=SILENT,
            ),
            Graph(
                title="Waiting by reason",
                why="capacity: no room in the KV cache or in the batch. deferred: held back for something else, as an adapter"
                " or a transfer.",
                queries=[Query(f"sum by (reason) (llm:requests_waiting_by_reason{ONE})", "{{reason}}")],
                unit=Unit.COUNT,
                empty="this engine gives no reasons, or none answers",
                stacked=True,
            ),
            Graph(
                title="KV cache by replica",
                why="Used share of each replica's KV cache. Near 100 % requests wait, then are preempted.",
                queries=[Query(f"max by (pod) (llm:kv_cache_usage:ratio{ONE})", "{{pod}}")],
                unit=Unit.SHARE,
                empty=SILENT,
                top=1,
            ),
            Graph(
                title="Preemptions",
                why="Requests per second that lost their place in the KV cache and are computed again.",
                queries=[Query(f"sum(llm:preemptions:rate5m{ONE})", "preemptions")],
                unit=Unit.PER_SECOND,
                empty=SILENT,
            ),
            Graph(
                title="Prefix cache hits",
                why="Share of the prompts' tokens that were in the prefix cache already; of all replicas together, not a mean of"
                " means.",
                queries=[Query(f"max(llm:prefix_hit:ratio5m{ONE})", "hits")],
                unit=Unit.SHARE,
                empty=QUIET,
                top=1,
            ),
        ],
    )


def failures() -> Row:
    return Row(
        "Failures",
        [
            Graph(
                title="Failed requests",
                why="Requests per second that ended with an error of the server.",
                queries=[Query(f"sum(llm:errors:rate5m{ONE})", "failed")],
                unit=Unit.REQUESTS_PER_SECOND,
                empty=QUIET,
            ),
            Graph(
                title="Rejected requests",
                why="Requests per second that were refused because the queue is full, by what was full.",
                queries=[Query(f"sum by (reason) (llm:rejections:rate5m{ONE})", "{{reason}}")],
                unit=Unit.REQUESTS_PER_SECOND,
                empty="nothing was refused",
            ),
            Graph(
                title="Restarts",
                why="Restarts of the containers of each replica in the 15 minutes before.",
                queries=[
                    Query(
                        "sum by (pod) (increase(kube_pod_container_status_restarts_total[15m])"
                        f" * on (namespace, pod) group_left () max by (namespace, pod) (llm:model_pod{ONE}))",
                        "{{pod}}",
                    )
                ],
                unit=Unit.COUNT,
                empty="no pod of this model",
            ),
        ],
    )
