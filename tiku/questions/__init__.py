"""Ten files, one per question: methods tried, metrics read, and the decision rule (a pure function)."""
