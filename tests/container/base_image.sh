#!/usr/bin/env bash
# A base image from Debian's packages, for tests where no container registry can be reached.
# base_image.sh FOLDER TAG: needs root, debootstrap and buildah; the mirror is the one that apt uses.
set -euo pipefail
folder=$1 tag=$2
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$folder/root" "$mirror" > "$folder/log" 2>&1
rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/*
# The package index may be one whose certificate only this machine knows.
cp /etc/ssl/certs/ca-certificates.crt "$folder/root/etc/ssl/certs/ca-certificates.crt"
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/root" / > /dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$container"
buildah commit --quiet --rm "$container" "$tag"
