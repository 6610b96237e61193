"""Text Generation Inference: what its launcher takes, and what becomes of it on vLLM."""
