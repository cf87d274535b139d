#!/bin/sh
# Tell the server what it is to know: the limit of the pool `gpu`, the automation that ends dead runs, the deployments.
# Run it again after each upgrade and each change of prefect.yaml (/etc/unetseg/prefect.yaml, or the one beside this file).
#
# It needs PREFECT_API_URL and PREFECT_API_AUTH_STRING, and workers that have made the pools `cpu` and `gpu`.
# UNETSEG_GPUS: how many runs train at once, one for each GPU.
set -eu
here=$(dirname "$0")
file=/etc/unetseg/prefect.yaml  # of this site, which an upgrade does not touch
[ -e "$file" ] || file=$here/prefect.yaml

for pool in cpu gpu; do  # workers make them when they have reached the server
    tries=60
    until prefect work-pool inspect "$pool" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "there is no pool $pool: start its worker first" >&2; exit 1; }
        sleep 2
    done
done

prefect work-pool set-concurrency-limit gpu "${UNETSEG_GPUS:-1}"
python -m deployments.automations
prefect --no-prompt deploy --all --prefect-file "$file"
