"""TradingView's own tests as a command: a client of the broker API that judges any server by its answers alone.

Nothing here imports the rest of the project. All that runner and server have in common is `tvapi/openapi.yaml`, which
is read as a file; so a misreading of the rules on one side is not repeated on the other.
"""
