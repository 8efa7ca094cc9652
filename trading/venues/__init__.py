"""Who executes: the broker itself (`internal`), or a counterparty over FIX, behind one small interface."""
