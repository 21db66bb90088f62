# etcd 3.5 from Debian's own package, for compose.yaml.
ARG DEBIAN=debian:trixie-slim
FROM ${DEBIAN}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends etcd-server \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10002 --group=10002 --mode=0700 /data
USER 10002:10002
VOLUME ["/data"]
ENTRYPOINT ["etcd"]
