"""The requests: what is asked, when, and how it is sent; and the servers that are asked."""
