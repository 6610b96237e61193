"""The components for programs in any language: a provider plugin that makes them when the engine asks."""
