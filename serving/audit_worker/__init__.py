"""Asks the expert about audited items that a broker brings: `python -m serving.audit_worker`."""
