"""The client for an expert, whichever kind of server its URL names."""

from __future__ import annotations

from collections.abc import Callable

from serving.expert.call import ExpertClient
from serving.expert.client import RemoteExpert
from serving.expert.other_server import Agreed, OtherServer
from serving.expert.over_http import OverHttp
from serving.expert.server import Server
from serving.expert_tls import ExpertTls
from serving.expert_url import OtherPlace, other_place
from serving.model.artifact import Artifact, VariantName


def open_client(
    url: str,
    tag: str,
    artifact: Artifact,
    variant: VariantName,
    tls: ExpertTls,
    declare: Callable[..., None] | None = None,
) -> ExpertClient:
    """A client for the expert of `artifact` at a URL that `serving.expert_url` takes, or of a socket (file:///PATH).

    `variant` is the one that the promise was made for. `declare` is told of an expert on another server what ours
    tells by itself: whether its golden items hold, and as keyword arguments its tag, digest, variant and provider.
    """
    place = other_place(url)
    if place is None:
        # Only an expert that is started beside the API has a socket, and then its process takes frames there.
        return RemoteExpert(url, tag, artifact.digest, tls, framed=url.startswith("file:"))

    def tell(agreed: Agreed) -> None:
        if declare is not None:
            info = {"digest": artifact.digest, "variant": agreed.variant, "provider": agreed.platform, "device": ""}
            declare(not agreed.golden.against, model=tag, **info)

    return OtherServer(_server(place, tls), tag, artifact, variant, vouched=place.version, tell=tell)


def _server(place: OtherPlace, tls: ExpertTls) -> Server:
    if place.scheme in ("grpc", "grpcs"):
        from serving.expert.over_grpc import OverGrpc  # gRPC takes memory and time to start

        return OverGrpc(place.address, place.model, tls if place.scheme == "grpcs" else None)
    return OverHttp(f"{place.scheme}://{place.address}", place.model, tls)
