# Build with `docker build .` or `buildah bud --format docker .` (HEALTHCHECK is part of the docker format only).
FROM docker.io/library/debian:12-slim AS build
WORKDIR /src
COPY quickstart ./
RUN ./quickstart install
COPY Makefile openapi.yaml ./
COPY lib ./lib
COPY server ./server
RUN make -j"$(nproc)" all
COPY docker ./docker
RUN docker/closure build/attnd /image

FROM scratch
COPY --from=build /image /
LABEL org.opencontainers.image.title="attnd" \
      org.opencontainers.image.description="Multi-head attention over HTTP, with the attention values" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.documentation="README.md"
# The root may be mounted read-only; /models is the only place that is written to.
# OpenBLAS is called from the server's own threads and need not start any.
ENV ATTND_LISTEN=0.0.0.0:8080 ATTND_MODELS=/models OPENBLAS_NUM_THREADS=1
VOLUME /models
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s --retries=3 CMD ["/attnd", "healthcheck"]
ENTRYPOINT ["/attnd"]
