"""Load tests of a service over HTTP and gRPC.

Each verb of `python -m loadtest` has a file here. The rooms, each of which imports only those above it:

traffic     what is sent, when and how
verdict     what the replies say of the service
pages       what a person sees
measuring   know a service, drive it, find its highest rate
queueing    simulate a service, and count replicas
"""
