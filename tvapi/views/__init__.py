"""TradingView's endpoints, by subject. Thin: they read the request, ask the domain, and put the answer into its words."""
