# The dashboard in a container. It has been written without Docker at hand; tests check what it copies.
#
#   docker build -t vlmad .
#   docker run -p 8501:8501 -v vlmad-results:/results -v vlmad-workspace:/workspace vlmad
#
# A new named volume begins with the demonstration's results. A folder of the host begins as it is: let the user
# `vlmad` (id 10001) write to it, or the dashboard can keep neither notes nor demos.
# Images to measure come in the same way: -v /path/to/data:/data:ro -e VLMAD_DATA_DIR=/data
# Jobs for parts of your own start only with -e VLMAD_JOBS=1, since the container answers to whoever reaches its port.
# Signing in: mount secrets.toml, never copy it into the image: -v /path/to/secrets.toml:/app/.streamlit/secrets.toml:ro
# -e VLMAD_OPERATORS=ann@example.com (docs/deploy.md).
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# As locked, by the SHA-256 of each file; torch by its version. One with `+cpu` counts as newer than one without, so the
# second index gives torch without CUDA.
COPY requirements.txt requirements.lock ./
RUN pip install --require-hashes --no-deps -r requirements.lock \
    && pip install --extra-index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)"

RUN useradd --uid 10001 --create-home vlmad && mkdir /results /workspace && chown vlmad:vlmad /app /results /workspace

COPY .streamlit ./.streamlit
COPY LICENSE pyproject.toml app.py asgi.py ./
COPY results/reported ./results/reported
COPY --chown=vlmad:vlmad results/bundled /results/bundled
COPY pages ./pages
COPY vlmad_core ./vlmad_core

USER vlmad
ENV VLMAD_STORE=/results VLMAD_WORKSPACE=/workspace
VOLUME ["/results"]
VOLUME ["/workspace"]
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]

CMD ["python", "-m", "vlmad_core", "app", "--address", "0.0.0.0", "--port", "8501"]
