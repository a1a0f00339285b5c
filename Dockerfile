# One image for every role: the command names it (`stream`, `deliver`, `log`, `api`, `jobs`, `init`).
FROM python:3.11-slim AS build
RUN python -m venv /venv
WORKDIR /src
COPY requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY router router
COPY consumers consumers
COPY schemas schemas
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
COPY --from=build /venv /venv
RUN useradd --uid 10001 --create-home router \
  && install -d -o router -g router /var/lib/router/uploads
USER router
WORKDIR /home/router
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["router"]
