"""Every version this platform installs, in one place; Renovate proposes the next one through the annotations.

No digest is recorded yet: none could be read from a registry that we can name as its source, so images are pinned by tag.
"""

# renovate: datasource=docker depName=vllm/vllm-openai
VLLM = "0.33.0"

VLLM_IMAGE = f"docker.io/vllm/vllm-openai:v{VLLM}"
"""CUDA 13.0, amd64 and arm64, user vllm (uid 2000, gid 0), NVIDIA driver R580 or newer (vllm-project/vllm docker/Dockerfile)."""

# renovate: datasource=docker depName=public.ecr.aws/karpenter/karpenter
KARPENTER = "1.14.1"
"""The charts karpenter and karpenter-crd, which have one version; their definitions for rehearsals are in sandbox/charts."""

# renovate: datasource=github-releases depName=bottlerocket-os/bottlerocket
BOTTLEROCKET = "1.66.0"
"""Machine image of nodes where none is named, for Kubernetes 1.35 to 1.37 (github.com/bottlerocket-os/bottlerocket/releases)."""

# renovate: datasource=docker depName=registry.k8s.io/lws/charts/lws
LWS = "0.10.0"
"""The chart lws, which has the controller's version."""

# renovate: datasource=helm depName=kuberay-operator registryUrl=https://ray-project.github.io/kuberay-helm
KUBERAY = "1.7.0"
"""The chart kuberay-operator, which has the operator's version."""

# renovate: datasource=helm depName=aws-efa-k8s-device-plugin registryUrl=https://aws.github.io/eks-charts
EFA_DEVICE_PLUGIN = "v0.5.30"
"""The chart aws-efa-k8s-device-plugin (aws/eks-charts)."""

# renovate: datasource=helm depName=nvidia-device-plugin registryUrl=https://nvidia.github.io/k8s-device-plugin
NVIDIA_DEVICE_PLUGIN = "0.20.0"
"""The chart nvidia-device-plugin, which has the plugin's version (NVIDIA/k8s-device-plugin, deployments/helm)."""

# renovate: datasource=helm depName=gpu-operator registryUrl=https://helm.ngc.nvidia.com/nvidia
GPU_OPERATOR = "v26.7.0"
"""The chart gpu-operator, which has the operator's version (NVIDIA/gpu-operator, deployments/gpu-operator)."""
