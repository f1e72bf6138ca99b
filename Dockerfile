# The image of MLflow, the serving engine and Airflow in docker-compose.yaml: our code and its pinned packages.
FROM python:3.11.14-slim-bookworm

# Java runs the Spark feature engine, libgomp the numeric packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless libgomp1 \
    && rm -rf /var/lib/apt/lists/*

COPY requirements.txt /opt/caravan/
RUN pip install --no-cache-dir --compile -r /opt/caravan/requirements.txt

COPY . /opt/caravan
WORKDIR /opt/caravan
# by its entry point MLflow finds our app plug-in
RUN pip install --no-cache-dir --no-deps --editable .
ENV PYTHONPATH=/opt/caravan:/opt/caravan/plugins \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    AIRFLOW_HOME=/var/lib/airflow

# a named volume takes its mode from here, so that whichever user the compose file names can write to it
RUN mkdir -p /var/lib/caravan /var/lib/airflow && chmod 1777 /var/lib/caravan /var/lib/airflow
USER 1000:1000
