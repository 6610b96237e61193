// A team's own model on a cluster that others run.

import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as platform from "./sdks/llm-platform";

const config = new pulumi.Config();
const cluster = new kubernetes.Provider("cluster", { kubeconfig: config.requireSecret("kubeconfig") });
const there = { providers: [cluster] };

// As the platform's stack file has the pool.
const l4: platform.NodePoolArgs = {
    name: "l4",
    accelerator: { product: "L4", perNode: 1 },
    maxNodes: 1,
    labels: { "node.kubernetes.io/instance-type": "g6.xlarge" },
    taints: [{ key: "nvidia.com/gpu", value: "present", effect: "NoSchedule" }],
};

const room = new platform.Namespace(
    "room",
    { namespaceName: "team-chat", level: platform.PodSecurityLevel.Restricted, kubernetesVersion: "1.36" },
    there,
);
const doors = new platform.NetworkPolicySet(
    "doors",
    {
        namespaceName: room.namespaceName,
        policies: {
            server: {
                pods: { "app.kubernetes.io/instance": "qwen" },
                ingress: [{ reason: "the team's own pages ask it", pods: [{ labels: { app: "web" } }], ports: [{ port: 8000 }] }],
            },
        },
    },
    there,
);
// The file server of those who run the cluster has the models.
const files = new platform.ModelCache(
    "files",
    { namespaceName: doors.namespaceName, sizeGib: 7, nfs: { server: config.require("fileServer"), path: "/models/qwen" } },
    there,
);
const qwen = new platform.ModelServer(
    "qwen",
    {
        modelName: "qwen",
        modelPath: "/models",
        claimName: files.claimName,
        weightsGib: 5.2,
        namespaceName: doors.namespaceName,
        pool: l4,
        maxModelLen: config.getNumber("maxModelLen") ?? 8192,
    },
    there,
);

export const url = qwen.url;
