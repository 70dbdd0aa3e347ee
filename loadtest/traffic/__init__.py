"""Requests: what is sent, when and how; and the processes of the servers that receive them."""
