# Peitho's image, which also runs beside builds and before chaincode.  Built with no network: the
# wheels are in dist/ (`make image` puts them there), and they are for the Python of BASE.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
COPY dist/ /wheels/
RUN python -m venv --without-pip /opt/peitho \
 && python -c "import pathlib, sys, zipfile; \
site = next(pathlib.Path('/opt/peitho/lib').glob('python*')) / 'site-packages'; \
[zipfile.ZipFile(wheel).extractall(site) for wheel in pathlib.Path('/wheels').glob('*.whl')]" \
 && /opt/peitho/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/peitho/lib

FROM ${BASE}
COPY --from=build /opt/peitho /opt/peitho
RUN printf '#!/bin/sh\nexec /opt/peitho/bin/python -m peitho "$@"\n' > /usr/local/bin/peitho \
 && chmod 755 /usr/local/bin/peitho && mkdir -p /var/lib/peitho && chown 10001:0 /var/lib/peitho
# Python's own library as bytecode that is valid whatever its files' times: a Pod starts 0.2 s sooner.
RUN python -m compileall -q -f --invalidation-mode unchecked-hash -x '/(tests?|lib2to3)/' \
 "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/peitho/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080 8081 9090
ENTRYPOINT ["peitho"]
CMD ["serve"]
