# The command line with the extras for clusters, object storage and CZI; no window. docs/scale.md says how it is used.
FROM python:3.11-slim

ARG VERSION=0.1.0.dev0
ENV SETUPTOOLS_SCM_PRETEND_VERSION=$VERSION \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib

COPY . /source
RUN python -m pip install --constraint /source/constraints.txt "/source[cluster,czi,fast-zarr,remote]" && \
    useradd --uid 1000 --create-home hrpn
USER 1000
WORKDIR /data
# no entry point, so that the same image runs dask's scheduler and workers
CMD ["napari-hrpn", "--help"]
