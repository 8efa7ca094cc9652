"""TradingView's endpoints, by subject. Thin: they read a request, ask the domain, and put the answer into its words."""
