"""Every version this platform installs, in one place; Renovate proposes the next one through the annotations.

No digest is recorded yet: none could be read from a registry that we can name as its source, so images are pinned by tag.
"""

# renovate: datasource=docker depName=vllm/vllm-openai
VLLM = "0.33.0"

VLLM_IMAGE = f"docker.io/vllm/vllm-openai:v{VLLM}"
"""CUDA 13.0, amd64 and arm64, user vllm (uid 2000, gid 0), NVIDIA driver R580 or newer (vllm-project/vllm docker/Dockerfile)."""
