"""Programs of other teams, in each language: they come up, stay as they are, go down, and hear in one sentence what is wrong."""

import json

import pytest

from tests.composition.consumer import Consumer
from tests.rehearsal.kubernetes_support import Api

pytestmark = pytest.mark.rehearsal

DEPLOYMENTS = "/apis/apps/v1/namespaces/team-chat/deployments"


def test_a_team_brings_its_model_up_and_down(consumer: Consumer, api: Api) -> None:
    given = {"kubeconfig": api.kubeconfig.read_text(), "fileServer": "10.20.0.7"}
    try:
        first, second, refused = consumer.run(("up", given), ("up", {}), ("preview", {"maxModelLen": "0"}))

        assert first.succeeded, first.errors
        # The stack, the provider, four components, and what they make of Kubernetes' objects.
        assert first.operations == {"create": 19}
        assert first.outputs == {"url": "http://qwen.team-chat.svc:8000/v1"}
        (server,) = api.call("GET", DEPLOYMENTS)["items"]
        arguments = server["spec"]["template"]["spec"]["containers"][0]["args"]
        assert server["status"]["readyReplicas"] == 1
        assert arguments[arguments.index("--max-model-len") + 1] == "8192"

        # Nothing was made by a provider that nobody named.
        state = json.loads((consumer.directory / "state/.pulumi/stacks/team-chat/dev.json").read_text())
        objects = [each for each in state["checkpoint"]["latest"]["resources"] if each["type"].startswith("kubernetes:")]
        assert {each["provider"].rpartition("::")[0].rpartition("::")[2] for each in objects} == {"cluster"}

        assert second.succeeded, second.errors
        assert second.operations == {}

        assert not refused.succeeded
        assert refused.errors[0] == consumer.refusal(
            "ModelServer", "qwen", "{key}: 0 is not allowed; use 1 or more, e.g. {key}: 8192"
        )
    finally:
        (gone,) = consumer.run(("destroy", {}))
    assert gone.succeeded, gone.errors
    assert api.find("/api/v1/namespaces/team-chat") is None
