"""Expectations, the gate that holds back gold that fails them, and the ledger."""
