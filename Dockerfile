# Peitho's image, which also runs beside builds and before chaincode: `docker build .`, on amd64 and
# on arm64.  Without a network, wheels are in dist/ and PIP_NO_INDEX=1, PIP_FIND_LINKS=given are
# build arguments (`make image`).
# The digest is that of the index, for all platforms.
ARG BASE=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

FROM ${BASE} AS build
WORKDIR /build
# pip reads them of its environment; PIP_INDEX_URL is for a mirror.
ARG PIP_INDEX_URL
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
# A folder that need not be there is named by a pattern.
COPY requirements.lock requirements-build.lock dist* given/
RUN python -m pip download -q --require-hashes --only-binary :all: \
 -r given/requirements.lock -d wheels \
 && python -m pip install -q --require-hashes --only-binary :all: \
 -r given/requirements-build.lock --target tools
COPY LICENSE README.md pyproject.toml ./
COPY release release
COPY src src
# The time of all files.
ARG SOURCE_DATE_EPOCH=1577836800
RUN PYTHONPATH=tools python -m release.image wheels /image

# Python and Peitho alone: no shell, no pip, no package manager.
FROM scratch
COPY --from=build /image /
ENV PATH=/opt/peitho/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 \
 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001
EXPOSE 8080 8081 9090
ENTRYPOINT ["/usr/local/bin/peitho"]
CMD ["serve"]
