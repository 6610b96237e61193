"""Real requests through a real proxy: Envoy Gateway translates objects, Envoy obeys, stand-ins of engines answer on loopback."""
