"""Text of plans: printed tables, JSON, errors, and names folded over layers."""
