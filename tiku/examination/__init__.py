"""plan -> trials -> ledger -> search -> confirmation."""
