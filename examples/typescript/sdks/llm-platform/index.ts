// The components this program uses, in the shape that `pulumi package add` generates all of them in.
// What each property means and which others there are is in plugin/schema.json.

import * as pulumi from "@pulumi/pulumi";

export const PodSecurityLevel = { Restricted: "restricted", Baseline: "baseline", Privileged: "privileged" } as const;
export type PodSecurityLevel = (typeof PodSecurityLevel)[keyof typeof PodSecurityLevel];

export interface TaintArgs {
    key: string;
    value?: string;
    effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
}

export interface AcceleratorArgs {
    product?: string;
    memoryGib?: number;
    resource?: string;
    perNode: number;
}

export interface NodePoolArgs {
    name: string;
    accelerator?: AcceleratorArgs;
    maxNodes: number;
    labels: Record<string, string>;
    taints?: TaintArgs[];
}

export interface NetworkPodsArgs {
    labels: Record<string, string>;
    namespaceName?: pulumi.Input<string>;
}

export interface NetworkPortArgs {
    port: number;
    end?: number;
}

export interface NetworkFlowArgs {
    reason: string;
    pods?: NetworkPodsArgs[];
    ports?: NetworkPortArgs[];
}

export interface NetworkPolicyArgs {
    pods: Record<string, string>;
    resolvesNames?: boolean;
    ingress?: NetworkFlowArgs[];
    egress?: NetworkFlowArgs[];
}

export interface NfsArgs {
    server: string;
    path: string;
    mountOptions?: string[];
}

export interface NamespaceArgs {
    namespaceName: string;
    level: PodSecurityLevel;
    kubernetesVersion: string;
}

export class Namespace extends pulumi.ComponentResource {
    declare public readonly namespaceName: pulumi.Output<string>;

    constructor(name: string, args: NamespaceArgs, opts?: pulumi.ComponentResourceOptions) {
        super("llm-platform:index:Namespace", name, { ...args }, opts, true);
    }
}

export interface NetworkPolicySetArgs {
    namespaceName: pulumi.Input<string>;
    policies: Record<string, NetworkPolicyArgs>;
}

export class NetworkPolicySet extends pulumi.ComponentResource {
    declare public readonly namespaceName: pulumi.Output<string>;
    declare public readonly policyNames: pulumi.Output<Record<string, string>>;

    constructor(name: string, args: NetworkPolicySetArgs, opts?: pulumi.ComponentResourceOptions) {
        super("llm-platform:index:NetworkPolicySet", name, { policyNames: undefined, ...args }, opts, true);
    }
}

export interface ModelCacheArgs {
    namespaceName: pulumi.Input<string>;
    sizeGib: number;
    nfs?: NfsArgs;
    retain?: boolean;
}

export class ModelCache extends pulumi.ComponentResource {
    declare public readonly claimName: pulumi.Output<string>;

    constructor(name: string, args: ModelCacheArgs, opts?: pulumi.ComponentResourceOptions) {
        super("llm-platform:index:ModelCache", name, { claimName: undefined, ...args }, opts, true);
    }
}

export interface ModelServerArgs {
    modelName: string;
    modelPath: pulumi.Input<string>;
    claimName?: pulumi.Input<string>;
    weightsGib: number;
    namespaceName: pulumi.Input<string>;
    pool: NodePoolArgs;
    maxModelLen: number;
    replicas?: number;
}

export class ModelServer extends pulumi.ComponentResource {
    declare public readonly url: pulumi.Output<string>;
    declare public readonly arguments: pulumi.Output<string[]>;
    declare public readonly serverName: pulumi.Output<string>;
    declare public readonly expectation: pulumi.Output<string>;

    constructor(name: string, args: ModelServerArgs, opts?: pulumi.ComponentResourceOptions) {
        const outputs = { url: undefined, arguments: undefined, serverName: undefined, expectation: undefined };
        super("llm-platform:index:ModelServer", name, { ...outputs, ...args }, opts, true);
    }
}
