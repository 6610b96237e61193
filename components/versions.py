"""Every version this platform installs, in one place; Renovate proposes the next one through the annotations.

The digests of images, and the images that charts start, are in images.lock.yaml.
"""

from .image_lock import locked

# renovate: datasource=docker depName=vllm/vllm-openai
VLLM = "0.33.0"

VLLM_IMAGE = locked(f"docker.io/vllm/vllm-openai:v{VLLM}")
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

# renovate: datasource=docker depName=ghcr.io/external-secrets/charts/external-secrets
EXTERNAL_SECRETS = "2.9.0"
"""The chart external-secrets, which has the operator's version (external-secrets/external-secrets, deploy/charts)."""

# renovate: datasource=helm depName=sealed-secrets registryUrl=https://bitnami-labs.github.io/sealed-secrets
SEALED_SECRETS = "2.18.5"
"""The chart sealed-secrets, with the controller 0.36.6 (bitnami-labs/sealed-secrets, helm/sealed-secrets)."""

# renovate: datasource=docker depName=ghcr.io/grafana-community/helm-charts/loki
LOKI_CHART = "18.11.0"
"""The chart loki, with Loki 3.7.6 (grafana-community/helm-charts, charts/loki)."""

# renovate: datasource=helm depName=fluent-bit registryUrl=https://fluent.github.io/helm-charts
FLUENT_BIT_CHART = "0.58.1"
"""The chart fluent-bit, with Fluent Bit 5.1.1 (fluent/helm-charts, charts/fluent-bit)."""

# renovate: datasource=helm depName=keda registryUrl=https://kedacore.github.io/charts
KEDA = "2.20.2"
"""The chart keda, which has the operator's version (kedacore/charts, keda)."""

# renovate: datasource=helm depName=metrics-server registryUrl=https://kubernetes-sigs.github.io/metrics-server
METRICS_SERVER = "3.13.1"
"""The chart metrics-server, with the server 0.8.1 (kubernetes-sigs/metrics-server, charts)."""

# renovate: datasource=helm depName=dcgm-exporter registryUrl=https://nvidia.github.io/dcgm-exporter/helm-charts
DCGM_EXPORTER_CHART = "4.8.2"
"""The chart dcgm-exporter (NVIDIA/dcgm-exporter, deployment); 4.9.0 renames metrics and values. Its image is in profiles.yaml."""

# renovate: datasource=helm depName=prometheus-node-exporter registryUrl=https://prometheus-community.github.io/helm-charts
NODE_EXPORTER_CHART = "4.56.1"
"""The chart prometheus-node-exporter, with node exporter 1.12.1 (prometheus-community/helm-charts)."""

# renovate: datasource=helm depName=kube-state-metrics registryUrl=https://prometheus-community.github.io/helm-charts
KUBE_STATE_METRICS_CHART = "8.4.0"
"""The chart kube-state-metrics, with kube-state-metrics 2.20.0 (prometheus-community/helm-charts)."""

# renovate: datasource=docker depName=ghcr.io/prometheus-community/charts/kube-prometheus-stack
KUBE_PROMETHEUS_STACK = "88.5.3"
"""The chart kube-prometheus-stack, with the operator 0.93.1 (prometheus-community/helm-charts, charts/kube-prometheus-stack)."""

# renovate: datasource=docker depName=quay.io/prometheus/prometheus
PROMETHEUS = "3.14.0-distroless"

# renovate: datasource=docker depName=quay.io/prometheus/alertmanager
ALERTMANAGER = "0.34.0"

# renovate: datasource=docker depName=docker.io/grafana/grafana
GRAFANA = "13.2.0"

PROMETHEUS_IMAGE = locked(f"quay.io/prometheus/prometheus:v{PROMETHEUS}")
ALERTMANAGER_IMAGE = locked(f"quay.io/prometheus/alertmanager:v{ALERTMANAGER}")
"""As the values of the chart kube-prometheus-stack 88.5.3 name both."""
GRAFANA_IMAGE = locked(f"docker.io/grafana/grafana:{GRAFANA}")
"""As the chart grafana 12.11.1 names it (grafana-community/helm-charts, charts/grafana)."""

# renovate: datasource=docker depName=docker.io/envoyproxy/gateway-helm
ENVOY_GATEWAY = "v1.9.0"
"""The chart gateway-helm, which has the controller's version; its proxies are Envoy 1.39.0 (envoyproxy/gateway, charts)."""

# renovate: datasource=helm depName=cert-manager registryUrl=https://charts.jetstack.io
CERT_MANAGER = "v1.21.1"
"""The chart cert-manager, which has the controller's version (cert-manager/cert-manager, deploy/charts)."""

# renovate: datasource=helm depName=istiod registryUrl=https://istio-release.storage.googleapis.com/charts
ISTIO = "1.30.3"
"""The charts base, istiod and gateway, which have one version (istio/istio, manifests/charts)."""

# renovate: datasource=helm depName=aws-load-balancer-controller registryUrl=https://aws.github.io/eks-charts
AWS_LOAD_BALANCER_CONTROLLER = "3.5.0"
"""The chart aws-load-balancer-controller, which has the controller's version (aws/eks-charts, stable)."""
