"""Capacity: measured tables of a service, the queueing simulation that uses them, and the count of replicas."""
