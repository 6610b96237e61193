"""How clients reach models: gateways, routes, and shares of traffic between versions."""
