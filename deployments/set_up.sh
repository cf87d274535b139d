#!/bin/sh
# Tell the server what it is to know: the limit of the pool `gpu`, the automation that ends dead runs, the deployments.
# Run it again after each change of prefect.yaml; what is there already stays.
#
# It needs PREFECT_API_URL and PREFECT_API_AUTH_STRING, and workers that have made the pools `cpu` and `gpu`.
# UNETSEG_GPUS: how many runs train at once, one for each GPU.
set -eu
here=$(dirname "$0")
dead_runs=$here/automations/end_dead_runs.yaml
name=$(sed -n 's/^name: "\(.*\)"$/\1/p' "$dead_runs")

prefect work-pool set-concurrency-limit gpu "${UNETSEG_GPUS:-1}"
prefect automation inspect "$name" > /dev/null 2>&1 || prefect automation create --from-file "$dead_runs"
prefect --no-prompt deploy --all --prefect-file "$here/prefect.yaml"
