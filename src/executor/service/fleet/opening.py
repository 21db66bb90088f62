"""The fleet's store as the settings name it."""

from executor.config import Settings
from executor.exchange.port import StartError
from executor.service.store.etcd import Etcd, EtcdError, tls_of


def open_etcd(settings: Settings) -> Etcd:
    """To be called inside the running event loop; the client is to be closed. Raises StartError."""
    scheme = "https" if settings.fleet_ca is not None else "http"
    files = (settings.fleet_ca, settings.fleet_cert, settings.fleet_key)
    try:
        tls = tls_of(*(str(file) if file is not None else None for file in files)) if scheme == "https" else None
    except EtcdError as error:
        raise StartError(str(error)) from error
    return Etcd([f"{scheme}://{node}" for node in settings.fleet], tls)
