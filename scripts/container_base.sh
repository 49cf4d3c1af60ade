#!/bin/sh
# Make the base image that tests/container needs, from Debian packages: nothing is pulled from a registry of images.
# Root on Debian; with CONTAINERS_STORAGE_CONF set, podman keeps it where that says.
set -eu
python="3.11"
image="docker.io/library/python:$python-slim"
for program in podman buildah runc debootstrap; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install -y --no-install-recommends buildah podman runc debootstrap" >&2
        exit 1
    }
done
podman image exists "$image" && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$work/root" >"$work/log" 2>&1 || {
    tail -n 3 "$work/log" >&2
    exit 1
}
rm -f "$work"/root/usr/lib/python3*/EXTERNALLY-MANAGED "$work"/root/var/cache/apt/archives/*.deb
tar -C "$work/root" -cf "$work/base.tar" .
podman import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' "$work/base.tar" "$image"
