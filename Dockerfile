# An image that serves one run: no TensorFlow, no shell script, a user without rights, nothing written at run time.
# make image RUN=runs/latest prepares build/image (the run and its converted backbone) and builds it: docs/docker.md.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_CONSTRAINT=/source/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY configs configs
RUN python -m venv /opt/tlcli
RUN python -m pip wheel --no-deps --wheel-dir dist .
RUN /opt/tlcli/bin/python -m pip install "$(ls dist/tlcli-*.whl)[serve]"
RUN /opt/tlcli/bin/python -m pip uninstall --yes setuptools pip

FROM python:3.11.14-slim-bookworm
ENV PATH=/opt/tlcli/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TLCLI_CACHE=/model/cache
COPY --from=build /opt/tlcli /opt/tlcli
COPY build/image /model
WORKDIR /model
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["tlcli", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--token-file", "/run/secrets/tlcli_token"]
